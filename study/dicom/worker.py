"""The child process that parses what strangers send: `python -m study.dicom.worker`, spoken to by `sandbox`.

One JSON line a request on standard input; one answer on standard output: 8 bytes of length, a JSON header of that
length, then the frame and the source whose lengths the header gives. Memory, processor time and core dumps are bounded
before the first file is opened; an idle child ends by itself.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
from pathlib import Path
from typing import Any, BinaryIO

from study.dicom.errors import FileRefused
from study.dicom.limits import IDLE_SECONDS, PARSE_BYTES, PARSE_SECONDS


def main() -> None:
    # Libraries that print must not print into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    resource.setrlimit(resource.RLIMIT_AS, (PARSE_BYTES, PARSE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    pending = b""
    while True:
        while b"\n" not in pending:
            if not select.select([requests], [], [], IDLE_SECONDS)[0]:
                return
            received = requests.read(65536)
            if not received:
                return
            pending += received
        line, _, pending = pending.partition(b"\n")
        # Even without a parent, a parser in a loop ends.
        signal.alarm(int(PARSE_SECONDS) + 5)
        answer(json.loads(line), answers)
        signal.alarm(0)


def answer(request: dict[str, Any], out: BinaryIO) -> None:
    # Imported here, so that the limits already hold.
    from study.dicom.decoding import read_dicom
    from study.dicom.pictures import read_picture
    from study.dicom.pseudonyms import Pseudonyms

    try:
        path = Path(request["path"])
        if request["kind"] == "dicom":
            decoded = read_dicom(path, Pseudonyms(bytes.fromhex(request["key"])), request["fallback"])
        else:
            decoded = read_picture(path)
    except FileRefused as refusal:
        _send(out, {"refused": refusal.predicate})
        return
    frame = decoded.frame.astype("<u2").tobytes()
    rows, columns = decoded.frame.shape
    header = {
        "rows": rows,
        "columns": columns,
        "inverted": decoded.inverted,
        "voi": decoded.voi,
        "spacing_mm": decoded.spacing_mm,
        "view": decoded.view,
        "patient": decoded.patient,
        "examination": decoded.examination,
        "attributes": decoded.attributes,
        "frame_bytes": len(frame),
        "source_bytes": len(decoded.source),
    }
    _send(out, header, frame, decoded.source)


def _send(out: BinaryIO, header: dict[str, Any], *blobs: bytes) -> None:
    encoded = json.dumps(header).encode()
    out.write(struct.pack(">Q", len(encoded)))
    out.write(encoded)
    for blob in blobs:
        out.write(blob)
    out.flush()


if __name__ == "__main__":
    main()
