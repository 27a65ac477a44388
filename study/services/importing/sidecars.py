"""Sidecars: what stands beside images to say their view, patient, spacing and truth."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from gazex.findings import FINDINGS, SIDES
from study.dicom.deidentify import VIEWS

PHANTOM_SCHEMA: Final = "gazeroom.truth/1"
MAX_SIDECAR_BYTES: Final = 32 * 2**20
COLUMNS: Final = ("filename", "view", "patient", "spacing_mm", "finding", "side", "x0", "y0", "x1", "y1")
_ALIASES: Final = {"file": "filename", "patient_id": "patient"}
_VIEWS: Final = VIEWS | {"", "LAT", "LATERAL"}
Box = tuple[float, float, float, float]


class SidecarError(Exception):
    """What is wrong with a sidecar, as a predicate: "has on line 3 …"."""


@dataclass(frozen=True)
class TruthFinding:
    """A finding that is there; box `[x0, y0, x1, y1]` and outline in image pixels, or None."""

    finding: str
    side: str
    box: Box | None
    outline: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class Entry:
    """What a sidecar says of one file. `findings` is None where it says nothing of the truth, () for a normal image."""

    view: str = ""
    patient: str = ""
    spacing_mm: tuple[float, float] | None = None
    findings: tuple[TruthFinding, ...] | None = None
    method: str = "sidecar CSV"


@dataclass
class _Rows:
    said: dict[str, tuple[str, int]] = field(default_factory=dict)
    findings: list[TruthFinding] = field(default_factory=list)


def looks_like_sidecar(name: str, content: bytes) -> bool:
    """Whether a .csv or .json file beside images means to be a sidecar: by its header, or by its schema."""
    head = content[:4096].decode("utf-8-sig", "replace")
    if name.lower().endswith(".json"):
        return PHANTOM_SCHEMA in head
    columns = {column.strip().lower() for column in head.splitlines()[0].split(",")} if head.strip() else set()
    return bool(columns & {"filename", "file"}) and bool(columns & {"finding", "view", "patient", "patient_id"})


def parse(name: str, content: bytes) -> dict[str, Entry]:
    """Read a sidecar by the kind its name says; see `parse_csv` and `parse_truth`."""
    if len(content) > MAX_SIDECAR_BYTES:
        raise SidecarError(f"is {len(content) / 2**20:.0f} MB; a sidecar may have {MAX_SIDECAR_BYTES // 2**20} MB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SidecarError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    return parse_truth(text) if name.lower().endswith(".json") else parse_csv(text)


def parse_csv(text: str) -> dict[str, Entry]:
    """Read a sidecar CSV.

    Columns, in any order: `filename,view,patient,spacing_mm,finding,side,x0,y0,x1,y1`. Only `filename` (or `file`) is
    needed; `patient_id` is read as `patient`. One row a finding: a file with several findings has several rows, which
    may leave view, patient and spacing empty after the first. A file with a row and no finding is normal. Without a
    `finding` column the file says nothing of the truth.

    - `filename`: relative to the sidecar, with `/`.
    - `view`: PA, AP, LL, RL, LLD, RLD, LLO, RLO, LAT or empty.
    - `patient`: whatever tells patients apart; it is replaced by a keyed pseudonym and not kept.
    - `spacing_mm`: millimetres between pixels; two numbers (`0.2 0.1`) are between rows and between columns.
    - `finding`: one of CheXbert's thirteen labels (`gazex.findings.FINDINGS`), or empty, or "No Finding".
    - `side`: of the patient: left, right, bilateral or empty.
    - `x0,y0,x1,y1`: the finding's box in image pixels (pixel centres are whole numbers), all four or none.

    Returns
    -------
    dict
        File name → entry, in the order of the file.

    Raises
    ------
    SidecarError
        With the line and the remedy; the whole sidecar is refused.
    """
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SidecarError(f"is not a readable CSV ({error}); save it again as comma-separated UTF-8.") from None
    if not rows:
        raise SidecarError(f"is empty; its first line names the columns: {','.join(COLUMNS)}.")
    header = [_ALIASES.get(name.strip().lower(), name.strip().lower()) for name in rows[0][1]]
    if "filename" not in header:
        raise SidecarError(f"has no column filename; its first line names the columns: {','.join(COLUMNS)}.")
    doubled = {name for name in header if name in COLUMNS and header.count(name) > 1}
    if doubled:
        raise SidecarError(f"has two columns {min(doubled)}; remove one.")
    files: dict[str, _Rows] = {}
    for line, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise SidecarError(f"has {len(row)} fields on line {line} and {len(header)} columns; mend that line.")
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if name in COLUMNS}
        _add_row(files, cells, line)
    told = "finding" in header
    return {name: _entry(found, told=told) for name, found in files.items()}


def _add_row(files: dict[str, _Rows], cells: dict[str, str], line: int) -> None:
    name = _file_name(cells["filename"], f"on line {line} ")
    found = files.setdefault(name, _Rows())
    cells["view"] = cells.get("view", "").upper()
    if cells["view"] not in _VIEWS:
        raise SidecarError(
            f"has the view {cells['view'][:20]!r} on line {line}; write one of {', '.join(sorted(_VIEWS - {''}))} or "
            "leave it empty."
        )
    for column in ("view", "patient", "spacing_mm"):
        cell = cells.get(column, "")
        if not cell:
            continue
        before = found.said.setdefault(column, (cell, line))
        if before[0] != cell:
            raise SidecarError(f"gives {name} two values of {column} (lines {before[1]} and {line}); a file has one.")
    if cells.get("spacing_mm"):
        _spacing(cells["spacing_mm"], line)
    finding, side = cells.get("finding", ""), cells.get("side", "").lower()
    corners = [cells.get(column, "") for column in ("x0", "y0", "x1", "y1")]
    if finding in {"", "No Finding"}:
        if side or any(corners):
            raise SidecarError(f"has a side or a box without a finding on line {line}; name the finding.")
        return
    box = None
    if any(corners):
        box = _box(corners, f"on line {line}")
    found.findings.append(TruthFinding(_finding(finding, f"on line {line}"), _side(side, f"on line {line}"), box))


def _entry(found: _Rows, *, told: bool) -> Entry:
    spacing = found.said.get("spacing_mm")
    return Entry(
        view=found.said.get("view", ("", 0))[0],
        patient=found.said.get("patient", ("", 0))[0],
        spacing_mm=_spacing(*spacing) if spacing else None,
        findings=tuple(found.findings) if told else None,
    )


def parse_truth(text: str) -> dict[str, Entry]:
    """Read the `truth.json` that `gazex.phantoms.write_truth` writes beside phantoms: exact geometry.

    Raises
    ------
    SidecarError
        With the image and the remedy; the whole sidecar is refused.
    """
    remedy = "write it again with gazex.phantoms.write_truth."
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"is not readable JSON ({type(error).__name__}); {remedy}") from None
    if not isinstance(body, dict) or body.get("schema") != PHANTOM_SCHEMA or not isinstance(body.get("images"), dict):
        raise SidecarError(f"does not follow the schema {PHANTOM_SCHEMA}; {remedy}")
    entries = {}
    for name, truth in body["images"].items():
        where = f"for {str(name)[:80]}"
        try:
            findings = tuple(_truth_finding(item, where) for item in truth["findings"])
            view, patient = str(truth.get("view", "")).upper(), str(truth.get("patient_id", ""))
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            raise SidecarError(f"has a malformed entry {where}; {remedy}") from None
        if view not in _VIEWS:
            raise SidecarError(f"has the view {view[:20]!r} {where}; {remedy}")
        entries[_file_name(str(name), "")] = Entry(view, patient, None, findings, "phantom geometry")
    return entries


def _truth_finding(item: dict[str, Any], where: str) -> TruthFinding:
    box = item.get("box")
    outline = item.get("outline")
    points = None
    if outline is not None:
        points = tuple((_number(x, where), _number(y, where)) for x, y in outline)
    return TruthFinding(
        _finding(str(item["finding"]), where),
        _side(str(item.get("side", "")), where),
        None if box is None else _box(list(box), where),
        points,
    )


def _file_name(name: str, where: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise SidecarError(f"names no file beside it {where}({name[:80]!r}); write the name relative to the sidecar.")
    return str(path)


def _finding(finding: str, where: str) -> str:
    if finding not in FINDINGS:
        near = difflib.get_close_matches(finding, FINDINGS, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"write one of {', '.join(FINDINGS)}."
        raise SidecarError(f"has the unknown finding {finding[:40]!r} {where}; {remedy}")
    return finding


def _side(side: str, where: str) -> str:
    if side not in SIDES:
        raise SidecarError(
            f"has the side {side[:20]!r} {where}; write left, right, bilateral (the patient's) or nothing."
        )
    return side


def _number(cell: Any, where: str) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or isinstance(cell, bool):
        raise SidecarError(
            f"has {str(cell)[:20]!r} {where} where a number belongs; write x0, y0, x1, y1 in image pixels."
        )
    return number


def _box(corners: Iterable[Any], where: str) -> Box:
    numbers = [_number(corner, where) for corner in corners]
    if len(numbers) != 4 or not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise SidecarError(f"has a box {where} whose x1, y1 are not right of and below x0, y0; mend the four numbers.")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _spacing(cell: str, line: int) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in cell.split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0.001 <= number <= 100 for number in numbers):
        raise SidecarError(
            f"has the spacing {cell[:20]!r} on line {line}; write millimetres between pixels, as in 0.168 or 0.2 0.1."
        )
    return numbers[0], numbers[-1]
