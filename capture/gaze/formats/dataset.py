"""Many readings as one folder: each whole or not there, continued where a run was interrupted.

`.gazeroom-export.json` in the folder tells its format and which readings it holds; a reading is entered there only when
its files are in place. A second run writes what is new or changed and leaves the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import FormatError
from .reading import Reading, numbered
from .table import Format

LEDGER: Final = ".gazeroom-export.json"
SCHEMA: Final = "gazeroom.gaze-export/1"
_PART: Final = ".part"


@dataclass(frozen=True)
class Item:
    """A reading to export: what names it, a hash of everything it is made of, and how to load it."""

    key: str
    digest: str
    load: Callable[[], Reading]


@dataclass(frozen=True)
class Outcome:
    """written and unchanged readings, and (key, sentence) of those that the format cannot hold."""

    written: int
    unchanged: int
    refused: list[tuple[str, str]]


def export(
    items: Sequence[Item], out: Path, format: Format, *, progress: Callable[[int, int, str], None] | None = None
) -> Outcome:
    """Write readings into a folder.

    Raises
    ------
    FormatError
        The folder holds something else, or an export in another format.
    """
    ledger = _open(out, format)
    entries: dict[str, Any] = ledger["readings"]
    part = out / _PART
    written = unchanged = 0
    refused: list[tuple[str, str]] = []
    try:
        for done, item in enumerate(items, start=1):
            known = entries.get(item.key)
            if known and known["digest"] == item.digest and all((out / name).is_file() for name in known["files"]):
                unchanged += 1
            else:
                number = known["number"] if known else 1 + max((e["number"] for e in entries.values()), default=0)
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                try:
                    row = format.write(numbered(item.load(), number), part)
                except FormatError as refusal:
                    refused.append((item.key, str(refusal)))
                else:
                    entries[item.key] = {
                        "digest": item.digest,
                        "number": number,
                        "row": row,
                        "files": _move(part, out, known["files"] if known else {}),
                    }
                    _save(out, ledger)
                    written += 1
            if progress is not None:
                progress(done, len(items), item.key)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if written:
        finish(out, format, [entry["row"] for entry in sorted(entries.values(), key=lambda e: e["number"])])
    return Outcome(written, unchanged, refused)


def finish(out: Path, format: Format, rows: list[dict[str, Any]]) -> None:
    """Write the files that describe all readings, each whole or as it was."""
    part = out / _PART
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        format.finish(part, rows)
        _move(part, out, {})
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open(out: Path, format: Format) -> dict[str, Any]:
    ledger = out / LEDGER
    if out.exists() and not out.is_dir():
        raise FormatError(f"{out} is a file; name a folder.")
    if ledger.is_file():
        try:
            held = json.loads(ledger.read_text(encoding="utf-8"))
            if held["schema"] != SCHEMA or not isinstance(held["readings"], dict):
                raise KeyError("schema")
        except (ValueError, KeyError, TypeError):
            raise FormatError(f"{ledger} is damaged; export into another folder.") from None
        if held["format"] != format.name:
            raise FormatError(f"{out} holds an export in the format {held['format']}; name another folder.")
        return dict(held)
    if out.is_dir() and any(child.name != _PART for child in out.iterdir()):
        raise FormatError(f"{out} is not empty and holds no export; name a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    held = {"schema": SCHEMA, "format": format.name, "precision": format.precision, "readings": {}}
    _save(out, held)
    return held


def _save(out: Path, ledger: dict[str, Any]) -> None:
    part = out / f"{LEDGER}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(ledger, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(out / LEDGER)


def _move(part: Path, out: Path, before: Any) -> dict[str, str]:
    """Move everything under `part` into `out`; returns each file's SHA-256. Files of before that are gone go."""
    files = {}
    for path in sorted(p for p in part.rglob("*") if p.is_file()):
        name = path.relative_to(part).as_posix()
        with path.open("rb") as file:
            files[name] = hashlib.file_digest(file, "sha256").hexdigest()
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for name in set(before) - set(files):
        (out / name).unlink(missing_ok=True)
    return files


def digest_of(sources: Mapping[str, bytes], *more: Any) -> str:
    """A hash of a reading's files and of whatever else it was made with (JSON values)."""
    files = {name: hashlib.sha256(data).hexdigest() for name, data in sources.items()}
    return hashlib.sha256(json.dumps([files, *more], sort_keys=True).encode()).hexdigest()
