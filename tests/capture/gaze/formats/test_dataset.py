"""Folders of many readings, and the command that converts between formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.gaze.__main__ import main
from capture.gaze.formats import dataset
from capture.gaze.formats.dataset import Item
from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.table import FORMATS

from .readings import DISPLAY, SIZE, make_reading


def item(seed: int, digest: str = "1") -> Item:
    return Item(f"key-{seed}", digest, lambda: make_reading(seed, still=True, id=f"A-{seed}"))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_same_readings_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        dataset.export([item(1), item(2)], tmp_path / folder, FORMATS[name])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_changed_reading_is_written_anew_under_its_number(tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset.export([item(1), item(2)], out, FORMATS["reflacx"])
    before = files(out)
    outcome = dataset.export([item(1), item(2, "changed")], out, FORMATS["reflacx"])
    assert (outcome.written, outcome.unchanged) == (1, 1)
    assert files(out).keys() == before.keys()


def test_a_missing_file_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset.export([item(1)], out, FORMATS["xdf"])
    (out / "A-1.xdf").unlink()
    assert dataset.export([item(1)], out, FORMATS["xdf"]).written == 1


def test_what_a_format_cannot_hold_is_named_and_the_rest_is_written(tmp_path: Path) -> None:
    def without_display() -> object:
        reading = make_reading(3, still=True)
        del reading.track.meta["display"]
        return reading

    odd = Item("odd", "1", without_display)  # type: ignore[arg-type]
    outcome = dataset.export([odd, item(1)], tmp_path / "out", FORMATS["egd"])
    assert outcome.written == 1
    assert outcome.refused == [
        ("odd", "R01-C-1-abcd does not tell the display it was recorded on, of which EGD gives fractions.")
    ]


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset.export([item(1)], out, FORMATS["xdf"])
    (out / dataset.LEDGER).write_text("{")
    with pytest.raises(FormatError, match="is damaged; export into another folder"):
        dataset.export([item(1)], out, FORMATS["xdf"])


# ── convert ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def convert(*words: object) -> int:
    return main(["convert", *map(str, words)])


def test_a_recording_goes_round_all_formats(tmp_path: Path) -> None:
    dataset.export([item(5)], tmp_path / "0", FORMATS["xdf"])
    display = [str(v) for v in DISPLAY.to_dict().values()]
    steps = ["bids", "parquet", "reflacx", "egd", "xdf"]
    for number, name in enumerate(steps, start=1):
        size = ["--image-size", *SIZE] if steps[number - 2] == "egd" else []
        assert (
            convert(tmp_path / str(number - 1), tmp_path / str(number), "--to", name, "--display", *display, *size) == 0
        )
    (found,) = FORMATS["xdf"].read(tmp_path / "5")
    track, wanted = found.reading().track, make_reading(5, still=True).track
    on = np.isfinite(wanted.x)
    np.testing.assert_allclose(track.x[on], wanted.x[on], atol=2e-3)


def test_convert_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.export([item(5)], tmp_path / "in", FORMATS["egd"])
    assert convert(tmp_path / "in", tmp_path / "out", "--to", "xdf") == 1
    assert "does not tell the size of its image; give its rows and columns" in capsys.readouterr().err
    assert convert(tmp_path / "gone", tmp_path / "out", "--to", "xdf") == 2
    assert "does not exist; check the path" in capsys.readouterr().err
    assert convert(tmp_path / "in", tmp_path / "in", "--to", "xdf") == 2
    assert "holds an export in the format egd" in capsys.readouterr().err
    assert convert(tmp_path / "in", tmp_path / "b", "--to", "xdf", "--display", 0, 1, 1, 1, 1) == 2
    assert "must be a positive number" in capsys.readouterr().err
