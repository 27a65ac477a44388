"""`gazeroom-agent doctor`: what a station needs, one line each, with the remedy where something is missing."""

from __future__ import annotations

import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.agent import lsl
from capture.agent.sources import layout

ENOUGH_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name:<8} {self.text}"


def examine(*, session: str | None, spool: Path, server: str | None) -> Iterator[Finding]:
    """Yield the findings as they are made; what cannot be examined for want of liblsl is left out."""
    pylsl: Any = None
    try:
        pylsl = lsl.load(session)
    except (lsl.LslMissing, ValueError) as error:
        yield Finding("liblsl", False, str(error))
    else:
        version = pylsl.library_version()
        yield Finding("liblsl", True, f"{version // 100}.{version % 100}, this machine only")
    if pylsl is not None:
        yield from _tracker(pylsl)
    yield _disk(spool)
    yield _server(server)


def _tracker(pylsl: Any) -> Iterator[Finding]:
    found = pylsl.resolve_byprop("type", lsl.GAZE_TYPE, 1, 2.0)
    if not found:
        yield Finding("tracker", False, "no Gaze stream in this session: switch the tracker and its LSL program on.")
        return
    inlet = pylsl.StreamInlet(sorted(found, key=lambda info: info.source_id())[0], recover=False)
    try:
        info = inlet.info(timeout=3.0)
        name = f"{info.name()} ({info.source_id()})"
        channels = layout.map_channels(lsl.read_channels(info), display=lsl.read_display(info))
        inlet.open_stream(timeout=3.0)
        time.sleep(0.5)
        inlet.pull_chunk(timeout=0.0, max_samples=4096)
        began = pylsl.local_clock()
        time.sleep(1.0)
        _, times = inlet.pull_chunk(timeout=0.0, max_samples=8192)
        rate = len(times) / (pylsl.local_clock() - began)
    except (RuntimeError, TimeoutError, ValueError) as error:
        yield Finding("tracker", False, f"cannot be read ({error}): restart its LSL program.")
        return
    nominal = info.nominal_srate()
    told = f"{name}: {rate:.0f} of {nominal:g} samples/s, {len(channels.present)} of 30 channels"
    slow = nominal > 0 and rate < 0.9 * nominal
    yield Finding(
        "tracker", not slow and rate > 0, told + (": samples are missing, restart the tracker." if slow else "")
    )
    if times:
        age = pylsl.local_clock() - times[-1]
        correction, uncertainty, _ = lsl.time_correction(inlet, 3.0)
        ok = abs(correction) < 0.001 and -0.001 < age < 0.5
        told = f"tracker and agent differ by {correction * 1e3:.3f} ms (± {uncertainty * 1e3:.3f} ms)"
        told += f", samples arrive {age * 1e3:.0f} ms old"
        yield Finding("clock", ok, told + ("" if ok else ": the tracker's program must stamp with lsl_local_clock."))
    display = lsl.read_display(info)
    missing = [key for key, value in display.items() if value is None]
    if missing:
        yield Finding("display", False, f"the stream does not say {', '.join(missing)}: set them in its LSL program.")
    else:
        size = f"{display['width_px']}x{display['height_px']} px, {display['width_mm']}x{display['height_mm']} mm"
        yield Finding("display", True, f"{size} at {display['distance_mm']} mm")


def _disk(spool: Path) -> Finding:
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = spool / ".probe"
        began = time.perf_counter()
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, bytes(65536))
            os.fdatasync(fd)
        finally:
            os.close(fd)
            probe.unlink()
        took = time.perf_counter() - began
    except OSError as error:
        return Finding("disk", False, f"{spool} cannot be written ({error.strerror}): name another with --spool.")
    free = shutil.disk_usage(spool).free
    waiting = len(list(spool.glob("*/*/recording.json")))
    told = f"{spool}: {free / 2**30:.1f} GiB free, fdatasync {took * 1e3:.0f} ms, {waiting} recordings waiting"
    return Finding("disk", free > ENOUGH_BYTES, told + ("" if free > ENOUGH_BYTES else ": free some space."))


def _server(server: str | None) -> Finding:
    if not server:
        return Finding("server", True, "not asked: name the site with --server https://…")
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(server, timeout=5) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("server", False, f"{server} does not answer ({reason}): is it running, is the network up?")
    took = (time.perf_counter() - began) * 1e3
    ok = status < 500
    return Finding("server", ok, f"{server} answers HTTP {status} in {took:.0f} ms" + ("" if ok else ": see its log."))


def report(findings: Iterator[Finding], write: Callable[[str], object] = sys.stdout.write) -> int:
    """Write the findings line by line; 0 if all is well, else 1."""
    bad = 0
    for finding in findings:
        write(f"{finding}\n")
        bad += not finding.ok
    return int(bad > 0)
