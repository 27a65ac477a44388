"""Visits: one person's reading of one radiograph, as GazeX learns from it; and how they lie on disk. No torch.

A folder of visits holds `visits.jsonl` (one visit a line), `images/` (16-bit PNG, bright where dense) and `gaze/` (npz
with `t_s`, `x`, `y`, and `ppd` where it was measured sample by sample). Identifiers are pseudonyms.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gazex.findings import FINDINGS, SIDES
from gazex.radiograph import MAX_PIXELS, ImageError, picture_size, read_picture

SCHEMA: Final = "gazeroom.visits/1"
EVIDENCE_SCHEMA: Final = "gazeroom.evidence/1"
Sentence = tuple[str, float, float]


class SchemaError(ValueError):
    """A folder of visits, or one visit in it, is not as described here; the message says what and where."""


@dataclass(frozen=True)
class VisitBox:
    """A box a reader (or the reference) drew: finding, patient's side, `[x0, y0, x1, y1]` in image pixels."""

    finding: str
    side: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Visit:
    """One reading.

    Attributes
    ----------
    id, reader, patient, study
        Pseudonymous identifiers; `id` names the visit's files and is unique in its folder.
    image_file
        Path of the image, relative to the folder of visits.
    rows, columns
        Size of the image in pixels.
    t_s, x, y
        Gaze samples, shape [N]: seconds from the start of the reading (ascending), position in image pixels. NaN where
        the tracker lost the eyes.
    ppd_x, ppd_y
        Image pixels per degree of visual angle.
    sentences
        `(text, t0, t1)`: first word's start and last word's end in seconds, same clock as the gaze.
    labels
        Findings that are there: name → side ("left", "right", "bilateral", "") or True where the side is not known.
    boxes
        Marks, possibly none.
    sample_ppd
        Image pixels per degree of each sample, shape [N, 2] (x, y), NaN where unknown; None where only `ppd_x` and
        `ppd_y` are known.
    """

    id: str
    reader: str
    patient: str
    study: str
    image_file: str
    rows: int
    columns: int
    t_s: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    ppd_x: float
    ppd_y: float
    sentences: list[Sentence] = field(default_factory=list)
    labels: dict[str, str | bool] = field(default_factory=dict)
    boxes: list[VisitBox] = field(default_factory=list)
    sample_ppd: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("t_s", "x", "y", "sample_ppd"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        problem = self._problem()
        if problem:
            raise SchemaError(f"Visit “{self.id}” {problem}.")

    def _problem(self) -> str:
        if not self.id or Path(self.id).name != self.id or self.id in {".", ".."}:
            return "needs an id that can name a file"
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns > MAX_PIXELS:
            return f"has an image of {self.rows}×{self.columns} pixels"
        if not (self.t_s.ndim == 1 and self.t_s.shape == self.x.shape == self.y.shape):
            return f"has gaze columns of different lengths ({self.t_s.shape}, {self.x.shape}, {self.y.shape})"
        if not np.isfinite(self.t_s).all() or (len(self.t_s) > 1 and (np.diff(self.t_s) < 0).any()):
            return "has gaze times that do not ascend"
        if not (np.isfinite([self.ppd_x, self.ppd_y]).all() and self.ppd_x > 0 and self.ppd_y > 0):
            return f"has {self.ppd_x} × {self.ppd_y} pixels per degree; both must be positive"
        if self.sample_ppd is not None:
            if self.sample_ppd.shape != (len(self.t_s), 2):
                return f"has {len(self.t_s)} samples and pixels per degree of shape {self.sample_ppd.shape}"
            if (self.sample_ppd <= 0).any():
                return "has a sample with pixels per degree that are not positive"
        for text, t0, t1 in self.sentences:
            if not (np.isfinite([t0, t1]).all() and t1 >= t0):
                return f"has a sentence without a valid time interval (“{text[:40]}”, {t0} to {t1} s)"
        for finding, side in self.labels.items():
            if finding not in FINDINGS:
                return f"names a finding “{finding}” that is not one of CheXbert's"
            if side is not True and side not in SIDES:
                return f"gives “{finding}” the side “{side}”; sides are left, right, bilateral or empty"
        for mark in self.boxes:
            x0, y0, x1, y1 = mark.box
            if mark.finding not in FINDINGS:
                return f"marks a finding “{mark.finding}” that is not one of CheXbert's"
            if not (np.isfinite(mark.box).all() and x0 <= x1 and y0 <= y1):
                return f"has a box that is not x0 ≤ x1, y0 ≤ y1: {mark.box}"
        return ""

    def image_path(self, folder: Path | str) -> Path:
        return Path(folder) / self.image_file


def write_image(path: Path | str, pixels: NDArray[np.uint16]) -> None:
    """Write pixels [rows, columns] as a 16-bit grayscale PNG."""
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise SchemaError(f"An image must be uint16 [rows, columns]; this one is {pixels.dtype} {pixels.shape}.")
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)


def read_image(path: Path | str) -> NDArray[np.uint16]:
    """Read a grayscale PNG of 8 or 16 bits as uint16 [rows, columns]."""
    try:
        return read_picture(path).astype(np.uint16)
    except ImageError as error:
        raise SchemaError(str(error)) from None


def write_visits(folder: Path | str, visits: Iterable[tuple[Visit, NDArray[np.uint16]]]) -> Path:
    """Write visits with their images.

    Parameters
    ----------
    folder
        Created where missing. `visits.jsonl` is written last and whole, so a folder without it is an unfinished one.
    visits
        Pairs (visit, pixels uint16 [rows, columns]). Visits of the same image share the file by `image_file`.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "gaze").mkdir(exist_ok=True)
    lines, seen, images = [], set(), set()
    for visit, pixels in visits:
        if visit.id in seen:
            raise SchemaError(f"Two visits are called “{visit.id}”; ids must be unique in a folder.")
        if pixels.shape != (visit.rows, visit.columns):
            raise SchemaError(
                f"Visit “{visit.id}” says {visit.rows}×{visit.columns} pixels; "
                f"its image has {pixels.shape[0]}×{pixels.shape[1]}."
            )
        seen.add(visit.id)
        target = _inside(folder, visit.image_file)
        if visit.image_file not in images:
            images.add(visit.image_file)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, pixels)
        columns = {"t_s": visit.t_s, "x": visit.x, "y": visit.y}
        if visit.sample_ppd is not None:
            columns["ppd"] = visit.sample_ppd
        np.savez_compressed(folder / "gaze" / f"{visit.id}.npz", **columns)  # type: ignore[arg-type]
        lines.append(json.dumps(_to_json(visit), ensure_ascii=False))
    temporary = folder / "visits.jsonl.part"
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    temporary.replace(folder / "visits.jsonl")
    return folder


def read_visits(folder: Path | str) -> list[Visit]:
    """Read all visits of a folder.

    Raises
    ------
    SchemaError
        No `visits.jsonl`, a line that is not a visit, gaze or image missing or not that visit's: the message names the
        file and line.
    """
    folder = Path(folder)
    path = folder / "visits.jsonl"
    if not path.is_file():
        raise SchemaError(f"There are no visits in {folder}: visits.jsonl is missing.")
    visits = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is not UTF-8 text (byte {error.start}); write the visits again.") from None
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            visit = _from_json(folder, json.loads(line))
        except SchemaError as error:
            raise SchemaError(f"visits.jsonl line {number}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"visits.jsonl line {number} is not a visit: {type(error).__name__} {error}.") from None
        if not visit.image_path(folder).is_file():
            raise SchemaError(f"visits.jsonl line {number}: the image {visit.image_file} is missing.")
        try:
            if visit.image_file not in sizes:
                sizes[visit.image_file] = picture_size(visit.image_path(folder))
        except ImageError as error:
            raise SchemaError(f"visits.jsonl line {number}: {error}") from None
        if (size := sizes[visit.image_file]) != (visit.rows, visit.columns):
            raise SchemaError(
                f"visits.jsonl line {number} says {visit.rows}×{visit.columns} pixels, and its image "
                f"{visit.image_file} has {size[0]}×{size[1]}; write the visits again."
            )
        if _in_fractions(visit):
            raise SchemaError(
                f"visits.jsonl line {number} has gaze that looks like fractions of the image; pixels of its "
                f"{visit.columns} × {visit.rows} are needed."
            )
        visits.append(visit)
    if len({v.id for v in visits}) != len(visits):
        raise SchemaError(f"{path} names the same visit twice.")
    return visits


def _in_fractions(visit: Visit) -> bool:
    """Whether all of a visit's gaze lies within two pixels of the image's corner, as only another unit does."""
    places = np.abs(np.concatenate([visit.x, visit.y]))
    places = places[np.isfinite(places)]
    return len(places) > 0 and min(visit.rows, visit.columns) >= 32 and bool(places.max() <= 2)


def _inside(folder: Path, relative: str) -> Path:
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SchemaError(f"The image file “{relative}” lies outside the folder of visits.")
    return path


def _to_json(visit: Visit) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": visit.id,
        "reader": visit.reader,
        "patient": visit.patient,
        "study": visit.study,
        "image_file": visit.image_file,
        "rows": visit.rows,
        "columns": visit.columns,
        "ppd_x": visit.ppd_x,
        "ppd_y": visit.ppd_y,
        "sentences": [list(s) for s in visit.sentences],
        "labels": visit.labels,
        "boxes": [{"finding": b.finding, "side": b.side, "box": list(b.box)} for b in visit.boxes],
    }


def _from_json(folder: Path, row: Any) -> Visit:
    if not isinstance(row, dict):
        raise SchemaError(f"a visit is a JSON object, not {type(row).__name__}.")
    if row.get("schema") != SCHEMA:
        raise SchemaError(f"schema is “{row.get('schema')}”, expected “{SCHEMA}”.")
    _inside(folder, str(row["image_file"]))
    gaze_file = folder / "gaze" / f"{Path(str(row['id'])).name}.npz"
    try:
        with np.load(gaze_file, allow_pickle=False) as gaze:
            t_s, x, y = gaze["t_s"], gaze["x"], gaze["y"]
            sample_ppd = gaze.get("ppd")
    except FileNotFoundError:
        raise SchemaError(f"the gaze file gaze/{gaze_file.name} is missing.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SchemaError(f"the gaze file gaze/{gaze_file.name} cannot be read: {error}.") from None
    return Visit(
        id=str(row["id"]),
        reader=str(row["reader"]),
        patient=str(row["patient"]),
        study=str(row["study"]),
        image_file=str(row["image_file"]),
        rows=int(row["rows"]),
        columns=int(row["columns"]),
        t_s=t_s,
        x=x,
        y=y,
        ppd_x=float(row["ppd_x"]),
        ppd_y=float(row["ppd_y"]),
        sentences=[(str(text), float(t0), float(t1)) for text, t0, t1 in row["sentences"]],
        labels=dict(row["labels"]),
        boxes=[
            VisitBox(str(b["finding"]), str(b["side"]), tuple(float(v) for v in b["box"]))  # type: ignore[arg-type]
            for b in row["boxes"]
        ],
        sample_ppd=sample_ppd,
    )
