"""`python -m gazex boxes` and `video`: what they write, what they import, and how they refuse."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazex.__main__ import main
from gazex.evidence.folder import GAZE, WORDS
from tests.gazex.test_evidence_boxes import REFERENCE, check, needs_reference, scanpath

HERE = Path(__file__).resolve().parents[2]
COLUMNS = "sentence,cluster,x_min,y_min,x_max,y_max,cx,cy"
WORDED = [
    ("heart", 2.2, 3.0),
    (",", 3.0, 3.1),
    ("large", 3.1, 4.5),
    (".", 4.5, 5.0),
    ("clear", 5.4, 7.0),
    (".", 7.0, 8.8),
]


def write_table(path: Path, header, rows, end: str = "\n") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(header)
        writer.writerows(rows)


def gaze_rows(gaze) -> list[list[object]]:
    columns = (getattr(gaze, name) for name in ("t_s", "x", "y", "ppd_x", "ppd_y"))
    return [["" if v != v else v for v in row] for row in zip(*(c.tolist() for c in columns), strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "P100R000001"
    out.mkdir()
    write_table(out / "gaze.csv", GAZE, gaze_rows(scanpath(3, places=5)))
    write_table(out / "timestamps_transcription.csv", WORDS, WORDED)
    return out


def boxes(folder: Path, out: Path, width: object = 480, height: object = 400) -> int:
    return main(["boxes", str(folder), "--width", str(width), "--height", str(height), "--out", str(out)])


def refused(capsys: pytest.CaptureFixture[str], status: int, out: Path, *words: str) -> None:
    said = capsys.readouterr().err
    assert status == 2 and said.count("\n") == 1 and said.rstrip().endswith("."), said
    for word in words:
        assert word in said
    assert not out.exists() and not list(out.parent.glob("*.part*"))


def test_it_writes_the_rows_of_every_sentence(folder, tmp_path):
    assert boxes(folder, tmp_path / "b.csv") == 0
    header, *rows = (tmp_path / "b.csv").read_text().splitlines()
    assert header == COLUMNS
    expected = check(scanpath(3, places=5), [(2.2, 5.0), (5.4, 8.8)], 480, 400)
    assert [tuple(map(float, row.split(",")[:6])) for row in rows] == [row[:6] for row in expected]
    assert np.allclose([list(map(float, r.split(",")[6:])) for r in rows], [r[6:] for r in expected], atol=6e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["P100R000001", "b.csv"]


def test_a_folder_as_the_dataset_has_it_gives_the_same(folder, tmp_path):
    """Carriage returns, a byte order mark, other columns between and in another order, words after the last stop."""
    assert boxes(folder, tmp_path / "a.csv") == 0
    rows = gaze_rows(scanpath(3, places=5))
    header = ["pupil_area_normalized", *reversed(GAZE), "window_width"]
    write_table(folder / "gaze.csv", header, [[1.0, *reversed(row), ""] for row in rows], end="\r\n")
    words = folder / "timestamps_transcription.csv"
    write_table(words, WORDS, [*WORDED, ("and", 8.8, 9.0)], end="\r\n")
    words.write_bytes(b"\xef\xbb\xbf" + words.read_bytes())
    assert boxes(folder, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize(("name", "size"), [("P101R000001", (1600, 1400)), ("P101R000002", (2022, 1736))])
def test_the_whole_program_writes_the_published_boxes_without_heavy_imports(tmp_path, name, size):
    code = (
        "import sys; from gazex.__main__ import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'sklearn', 'pandas', 'transformers', 'numba', 'PIL', 'scipy.ndimage', 'django'};"
        "heavy &= set(sys.modules);"
        "print(sorted(heavy)); sys.exit(status)"
    )
    arguments = ["boxes", str(REFERENCE / name), "--width", str(size[0]), "--height", str(size[1])]
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", str(tmp_path / "b.csv")],
        cwd=HERE, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "[]", "")
    ours, theirs = (
        np.loadtxt(path, delimiter=",", skiprows=1)
        for path in (tmp_path / "b.csv", REFERENCE / name / "paper_boxes.csv")
    )
    assert np.array_equal(ours[:, :6], theirs[:, :6]) and np.abs(ours - theirs).max() < 0.001


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def spoil(folder: Path, name: str, change) -> None:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    header, rows = change(header, rows)
    write_table(folder / name, header, rows)


def every(column: int, change):
    return lambda header, rows: (
        header,
        [[change(cell) if k == column else cell for k, cell in enumerate(row)] for row in rows],
    )


def places(factor: float):
    def change(header, rows):
        return header, [
            [row[0], *(c and str(float(c) * factor) for c in row[1:3]), *row[3:]] for row in rows
        ]  # fmt: skip

    return change


G, W = "gaze.csv", "timestamps_transcription.csv"
SPOILT = {
    "no gaze on any line": (G, every(1, lambda _: ""), ["gaze.csv has no gaze"]),
    "no lines": (G, lambda h, _: (h, []), ["gaze.csv holds no line"]),
    "a missing column": (G, lambda h, r: (h[:4], [row[:4] for row in r]), ["has no column", GAZE[4]]),
    "a word for a number": (G, lambda h, r: (h, [*r[:5], ["x", *r[5][1:]], *r[6:]]), ["'x'", GAZE[0], "line 7"]),
    "a short line": (G, lambda h, r: (h, [*r[:5], r[5][:3], *r[6:]]), ["3 cells on line 7"]),
    "times that run backwards": (G, lambda h, r: (h, r[::-1]), ["goes back in time on line 3"]),
    "times in milliseconds": (G, every(0, lambda c: str(float(c) * 1000)), ["milliseconds"]),
    "pixels per degree of zero": (G, every(3, lambda _: "0"), ["must be positive"]),
    "places as fractions": (G, places(1 / 500), ["fractions of the image"]),
    "places in another unit": (G, places(4.0), ["% of its gaze beside an image of 480 × 400", "real width"]),
    "places of a quarter of the size": (G, places(1 / 4), ["another unit", "corner of an image of 480 × 400"]),
    "places in millimetres": (G, places(0.143), ["millimetres", "real width and height"]),
    "infinity for every place": (G, every(1, lambda _: "inf"), ["gaze.csv has no gaze"]),
    "a column twice": (G, lambda h, r: ([*h, h[1]], [[*row, "0"] for row in r]), [f"2 columns {GAZE[1]}"]),
    "a column under another name": (G, lambda h, r: (["t", *h[1:]], r), ["has no column", GAZE[0]]),
    "pixels per degree of a whole wall": (G, every(3, lambda _: "1e9"), ["1e+09", GAZE[3], "line 2", "480 × 400"]),
    "degrees per pixel": (G, every(4, lambda _: "0.037"), [GAZE[4], "not degrees per pixel"]),
    "no full stop": (W, lambda h, r: (h, [row for row in r if row[0] != "."]), ["holds no sentence"]),
    "no words": (W, lambda h, _: (h, []), ["timestamps_transcription.csv holds no line"]),
    "sentences without times": (W, every(1, lambda _: ""), ["no times for the sentence that begins on line 2"]),
    "a sentence that ends before it begins": (W, every(2, lambda _: "1.0"), ["ends before it begins"]),
    "sentences out of order": (W, lambda h, r: (h, [*r[4:], *r[:4]]), ["goes back in time on line 4"]),
    "sentences of another recording": (W, every(1, lambda c: "4000"), ["ends before it begins"]),
    "a missing column of words": (W, lambda h, r: (h[:2], [row[:2] for row in r]), [WORDS[2]]),
}


@pytest.mark.parametrize(("name", "change", "words"), SPOILT.values(), ids=SPOILT)
def test_what_cannot_be_a_reading_is_refused_in_one_sentence(folder, tmp_path, capsys, name, change, words):
    spoil(folder, name, change)
    refused(capsys, boxes(folder, tmp_path / "b.csv"), tmp_path / "b.csv", *words)


def test_gaze_and_sentences_of_different_times_are_refused(folder, tmp_path, capsys):
    spoil(folder, W, lambda h, r: (h, [[w, float(a) + 4000, float(b) + 4000] for w, a, b in r]))
    refused(capsys, boxes(folder, tmp_path / "b.csv"), tmp_path / "b.csv", "lies in no sentence", "4002.2")


@pytest.mark.parametrize("name", [G, W])
def test_missing_and_empty_files_are_named(folder, tmp_path, capsys, name):
    (folder / name).write_bytes(b"")
    refused(capsys, boxes(folder, tmp_path / "b.csv"), tmp_path / "b.csv", name, "is empty")
    (folder / name).write_bytes(b"\xff\xfe\x00")
    refused(capsys, boxes(folder, tmp_path / "b.csv"), tmp_path / "b.csv", name, "UTF-8")
    (folder / name).unlink()
    refused(capsys, boxes(folder, tmp_path / "b.csv"), tmp_path / "b.csv", f"{name} is missing")
    refused(capsys, boxes(tmp_path / "none", tmp_path / "b.csv"), tmp_path / "b.csv", "There is no folder")


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (0, 400, "--width is “0”"),
        (480, -3, "--height is “-3”"),
        ("wide", 400, "--width is “wide”"),
        (480.5, 400, "whole pixels"),
        (3, 400, "3 × 400"),
        (200, 150, "beside an image of 200 × 150"),
        (30_000, 30_000, "larger than the 100 million"),
    ],
)
def test_sizes_that_cannot_be_the_images_are_refused(folder, tmp_path, capsys, width, height, words):
    arguments = ["boxes", str(folder), f"--width={width}", f"--height={height}", "--out", str(tmp_path / "b.csv")]
    refused(capsys, main(arguments), tmp_path / "b.csv", words)


def test_a_place_to_write_to_that_is_none_is_refused_before_anything_is_read(folder, tmp_path, capsys):
    refused(capsys, boxes(folder, tmp_path / "no" / "b.csv"), tmp_path / "no" / "b.csv", "There is no folder", "b.csv")
    assert boxes(folder, folder) == 2 and "is a folder" in capsys.readouterr().err
    before = tmp_path / "b.csv"
    before.write_text("kept")
    (folder / G).unlink()
    assert boxes(folder, before) == 2 and before.read_text() == "kept"


def test_a_reading_of_one_corner_but_the_upper_left_and_of_the_middle_is_taken(folder, tmp_path):
    """What lies low or on the right in pixels is in no smaller unit."""
    gaze = scanpath(3, places=5)
    for name, (dx, dy) in {"right": (360, 0), "low": (0, 300), "middle": (180, 150)}.items():
        moved = [[t, x and 0.2 * x + dx, y and 0.2 * y + dy, *ppd] for t, x, y, *ppd in gaze_rows(gaze)]
        write_table(folder / G, GAZE, moved)
        assert boxes(folder, tmp_path / f"{name}.csv") == 0


def test_lost_samples_and_a_sentence_without_gaze_are_no_fault(folder, tmp_path):
    """Empty cells and `nan` in any column leave the sample out; a sentence with nothing else has no rows."""
    assert boxes(folder, tmp_path / "a.csv") == 0
    spoil(
        folder,
        G,
        lambda h, r: (h, [row for k, row in enumerate(r) for row in (row, ["nan", *row[1:]])[: 1 + (k % 9 == 0)]]),
    )
    assert boxes(folder, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    spoil(folder, W, lambda h, r: (h, [*r, ["later", "60", "61"], [".", "61", "62"]]))
    assert boxes(folder, tmp_path / "c.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


# ── video ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_video_has_a_frame_for_every_box(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (400, 480)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert main(["video", str(folder), "--image", str(tmp_path / "image.png"), "--out", str(tmp_path / "v.png")]) == 0
    assert boxes(folder, tmp_path / "b.csv") == 0
    with Image.open(tmp_path / "v.png") as video:
        assert video.n_frames == len((tmp_path / "b.csv").read_text().splitlines()) - 1
        assert video.size == (120, 100)


def test_a_video_without_image_or_of_another_kind_is_refused(folder, tmp_path, capsys):
    Image.new("L", (480, 400), 90).save(tmp_path / "image.png")
    for image, out, said in (
        ("none.png", "v.png", "There is no image"),
        ("image.png", "v.mp4", "must end in .png or .webp"),
        ("image.png", "no/v.png", "There is no folder"),
    ):
        status = main(["video", str(folder), "--image", str(tmp_path / image), "--out", str(tmp_path / out)])
        refused(capsys, status, tmp_path / out, said)
