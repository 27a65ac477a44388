"""From what a person names (files, folders, zips) to single files, each with what its sidecars say of it."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from study.dicom.limits import MAX_FILE_BYTES

from . import sidecars
from .sidecars import Entry, SidecarError

MAX_ENTRIES: Final = 20_000
MAX_UNPACKED_BYTES: Final = 16 * 2**30
MAX_RATIO: Final = 100
"""Unpacked to packed bytes of a whole archive over 64 MiB. A radiograph packs 2 to 5 times, a flat one some dozens."""
_RATIO_FROM: Final = 64 * 2**20
_IGNORED: Final = {"dicomdir", "thumbs.db", "desktop.ini"}


@dataclass
class Candidate:
    """One file to import: its name as the person knows it, where it lies, and what sidecars say of it."""

    name: str
    path: Path
    member: str = ""
    entry: Entry | None = None
    refusal: str = ""
    """Why it is not even opened, as a sentence."""

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """The file on disk; a zip's member is unpacked for as long, at most MAX_FILE_BYTES of it."""
        if not self.member:
            yield self.path
            return
        with tempfile.NamedTemporaryFile(prefix="gazeroom-import-") as unpacked:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as packed:
                # One byte more than allowed, so that the size check sees the excess.
                _copy(packed, unpacked, MAX_FILE_BYTES + 1)
            unpacked.flush()
            yield Path(unpacked.name)


@dataclass
class Gathered:
    candidates: list[Candidate] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Folder:
    """Files of one folder or archive, by their path within it, and the sidecars among them."""

    label: str
    files: dict[str, Candidate] = field(default_factory=dict)
    sidecars: dict[str, bytes] = field(default_factory=dict)
    complete: bool = True
    """All files of the folder are here, so that a sidecar's file that is not is missing."""


def gather(paths: list[Path]) -> Gathered:
    """List every file under the paths, in order, and match sidecars; only those are unpacked and read."""
    out = Gathered()
    loose: dict[Path, _Folder] = {}
    for path in paths:
        if path.is_dir():
            _match(_read_folder(path), out)
        elif not path.exists():
            out.refused.append((path.name, f"{path} does not exist; check the path."))
        elif zipfile.is_zipfile(path) and _starts_like_zip(path):
            folder = _read_zip(path, out)
            if folder is not None:
                _match(folder, out)
        else:
            folder = loose.setdefault(path.parent, _Folder("", complete=False))
            if _sidecar_name(path.name) and sidecars.looks_like_sidecar(path.name, _head(path)):
                folder.sidecars[path.name] = b""  # read below, with those that lie beside
            else:
                folder.files[path.name] = Candidate(path.name, path)
    for parent, folder in loose.items():
        for beside in sorted(parent.iterdir()):
            if _sidecar_name(beside.name) and beside.is_file() and beside.stat().st_size <= sidecars.MAX_SIDECAR_BYTES:
                content = beside.read_bytes()
                if sidecars.looks_like_sidecar(beside.name, content):
                    folder.sidecars[beside.name] = content
        _match(folder, out)
    return out


def _starts_like_zip(path: Path) -> bool:
    # is_zipfile finds an archive appended to anything; only a file that begins as one is taken for one.
    return _head(path)[:2] == b"PK"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _sidecar_name(name: str) -> bool:
    return name.lower().endswith((".csv", ".json"))


def _ignored(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() in _IGNORED


def _read_folder(root: Path) -> _Folder:
    folder = _Folder(root.name)
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not path.is_file() or _ignored(relative.parts):
            continue
        name = relative.as_posix()
        if _sidecar_name(name) and path.stat().st_size <= sidecars.MAX_SIDECAR_BYTES:
            content = path.read_bytes()
            if sidecars.looks_like_sidecar(name, content):
                folder.sidecars[name] = content
                continue
        folder.files[name] = Candidate(name, path)
    return folder


def _read_zip(path: Path, out: Gathered) -> _Folder | None:
    """The members of an archive, or None where it is refused whole."""

    def refuse(predicate: str) -> None:
        out.refused.append((path.name, f"{path.name} {predicate}"))

    folder = _Folder(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MAX_ENTRIES:
                refuse(f"holds {len(members)} files; pack at most {MAX_ENTRIES} into one zip.")
                return None
            unpacked = sum(member.file_size for member in members)
            # The file's own size, not the packed sizes it claims: a bomb's members may share their bytes.
            ratio = unpacked / max(1, path.stat().st_size)
            if unpacked > MAX_UNPACKED_BYTES or (unpacked > _RATIO_FROM and ratio > MAX_RATIO):
                refuse(
                    f"would unpack to {unpacked / 2**20:.0f} MB, {ratio:.0f} times its size, as a zip bomb does; "
                    "nothing of it was opened, import the folder itself."
                )
                return None
            for member in members:
                name = PurePosixPath(member.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
                    refuse(
                        f"holds a file whose name leads out of it ({member.filename[:80]!r}); nothing of it "
                        "was opened, pack it again."
                    )
                    return None
                if name.parts and not _ignored(name.parts):
                    _add_member(folder, archive, path, member, str(name))
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
    ) as e:
        refuse(f"is a damaged zip ({type(e).__name__}); pack or copy it again.")
        return None
    return folder


def _add_member(folder: _Folder, archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo, name: str) -> None:
    shown = f"{path.name}: {name}"
    candidate = Candidate(shown, path, member=member.filename)
    if name in folder.files or name in folder.sidecars:
        candidate.refusal = f"{shown} is there twice; pack each file once."
        folder.files[f"{name} (again)"] = candidate
        return
    folder.files[name] = candidate
    if member.flag_bits & 1:
        candidate.refusal = f"{shown} is encrypted; unpack the zip and import the folder."
    elif stat.S_ISLNK(member.external_attr >> 16):
        candidate.refusal = f"{shown} is a link; pack the file itself."
    elif member.file_size > MAX_FILE_BYTES:
        candidate.refusal = (
            f"{shown} is {member.file_size / 2**20:.0f} MB; a radiograph may have {MAX_FILE_BYTES // 2**20} MB."
        )
    else:
        with archive.open(member) as file:
            content = file.read(4096)
            if content[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                candidate.refusal = f"{shown} is a zip within a zip; unpack it and import it by itself."
            elif _sidecar_name(name) and sidecars.looks_like_sidecar(name, content):
                rest = file.read(sidecars.MAX_SIDECAR_BYTES + 1)
                folder.sidecars[name] = content + rest
                del folder.files[name]


def _match(folder: _Folder, out: Gathered) -> None:
    """Give every file what its sidecars say; refuse the files of a folder whose sidecar cannot be read."""
    said: dict[str, tuple[Entry, str]] = {}
    broken: dict[PurePosixPath, str] = {}
    # truth.json before the truth.csv of the same phantoms: it has the outlines.
    for name in sorted(folder.sidecars, key=lambda name: (not name.lower().endswith(".json"), name)):
        shown = f"{folder.label}: {name}" if folder.label.endswith(".zip") else name
        parent = PurePosixPath(name).parent
        try:
            entries = sidecars.parse(name, folder.sidecars[name])
        except SidecarError as error:
            out.refused.append((shown, f"{shown} {error}"))
            broken[parent] = shown
            continue
        for file, entry in entries.items():
            key = str(parent / file)
            if key in said and said[key][1].endswith(".json"):
                continue
            if key in said:
                out.refused.append(
                    (shown, f"{shown} lists {file}, as does {said[key][1]}; keep one row in one of them.")
                )
                broken[parent] = shown
            elif key not in folder.files and folder.complete:
                out.refused.append(
                    (shown, f"{shown} lists {file}, which is not beside it; add the file or drop the row.")
                )
            said[key] = (entry, name)
    for name, candidate in folder.files.items():
        at = next((parent for parent in PurePosixPath(name).parents if parent in broken), None)
        if at is not None and not candidate.refusal:
            candidate.refusal = (
                f"{candidate.name} waits for its sidecar {broken[at]}, which cannot be read; mend that first."
            )
        if name in said:
            candidate.entry = said[name][0]
        out.candidates.append(candidate)


def _copy(source: object, target: object, limit: int) -> None:
    left = limit
    while left > 0:
        part = source.read(min(left, 2**20))  # type: ignore[attr-defined]
        if not part:
            return
        target.write(part)  # type: ignore[attr-defined]
        left -= len(part)


__all__ = ["Candidate", "Gathered", "gather"]
