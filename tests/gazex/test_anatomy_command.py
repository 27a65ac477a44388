"""`python -m gazex anatomy`: areas of an image, the areas each sentence looked at, and the test of their order."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazex.__main__ import main
from gazex.anatomy import AREAS
from gazex.evidence.folder import GAZE, WORDS
from gazex.phantoms import make_phantom

PHANTOM = make_phantom(811, 3, (256, 288))
ALPHABET = ("trachea", "left_middle_zone", "heart", "abdomen", "spine")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "phantom.png"
    Image.fromarray(PHANTOM.pixels).save(path)
    return path


def reading(folder: Path, regions: tuple[str, ...]) -> Path:
    """A reader who looks at one region a sentence, for two seconds each, and speaks after looking."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows, words = [], []
    for k, region in enumerate(regions):
        x0, y0, x1, y1 = PHANTOM.regions[region]
        centre = (x0 + x1) / 2, y0 + 0.3 * (y1 - y0) if region != "spine" else y1 - 4
        for t in np.arange(0, 1.9, 0.02):
            x, y = centre + rng.normal(0, 1.5, 2)
            rows.append((round(2 * k + t, 3), round(x, 2), round(y, 2), 10.0, 10.0))
        words += [(region, 2 * k + 1.95, 2 * k + 1.96), (".", 2 * k + 1.96, 2 * k + 1.97)]
    for name, header, lines in (("gaze.csv", GAZE, rows), ("timestamps_transcription.csv", WORDS, words)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
    return folder


def printed(capsys, *arguments: object) -> dict:
    assert main(["anatomy", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_prints_every_area_with_its_box_in_image_pixels(image, capsys):
    told = printed(capsys, image)
    assert (told["schema"], told["rows"], told["columns"]) == ("gazeroom.anatomy/1", 256, 288)
    assert {a["name"] for a in told["areas"]} == set(AREAS) and 0.7 <= told["confidence"] <= 1
    for area in told["areas"]:
        x0, y0, x1, y1 = area["box"]
        assert -0.5 <= x0 < x1 <= 287.5 and -0.5 <= y0 < y1 <= 255.5
        assert area["area"] == f"{area['side']} {area['name']}".strip()
    left = next(a["box"] for a in told["areas"] if a["area"] == "left lung")
    assert np.abs(np.array(left) - PHANTOM.regions["left_lung"]).max() < 0.08 * 256
    assert "readings" not in told and "abcdef" not in told


def test_each_sentence_names_the_area_it_looked_at_and_the_order_is_tested(image, tmp_path, capsys):
    told = printed(capsys, image, "--gaze", reading(tmp_path / "P1", ALPHABET))
    (one,) = told["readings"]
    assert one["reading"] == "P1" and [s["sentence"] for s in one["sentences"]] == [f"{r}." for r in ALPHABET]
    areas = [[c["area"] for c in s["clusters"]] for s in one["sentences"]]
    assert areas[0] == ["trachea"] and "left lung" in areas[1] and "heart" in areas[2]
    for sentence in one["sentences"]:
        assert sentence["clusters"] and all(0 <= c["x"] < 288 and 0 <= c["y"] < 256 for c in sentence["clusters"])
    test = told["abcdef"]
    assert test["orders"][0].startswith("ABC") and test["tau"] > 0.9 and test["readings"] == 1 and 0 < test["p"] <= 1
    assert "ABCDEF" in test["meaning"]


def test_several_readings_are_tested_together(image, tmp_path, capsys):
    forward = [reading(tmp_path / f"F{k}", ALPHABET) for k in range(3)]
    backward = [reading(tmp_path / f"B{k}", ALPHABET[::-1]) for k in range(3)]
    follows, reverses = (printed(capsys, image, "--gaze", *folders)["abcdef"] for folders in (forward, backward))
    assert follows["readings"] == 3 and follows["p"] < 0.05 and "in the order of ABCDEF" in follows["meaning"]
    assert reverses["tau"] < -0.9 and reverses["p"] > 0.9 and "by chance" in reverses["meaning"]


def test_one_place_tells_no_order_and_says_so(image, tmp_path, capsys):
    test = printed(capsys, image, "--gaze", reading(tmp_path / "P1", ("heart",)))["abcdef"]
    assert test["tau"] is None and test["p"] is None and test["meaning"].startswith("Not estimable")


def test_a_file_is_written_whole_where_asked_for(image, tmp_path, capsys):
    assert main(["anatomy", str(image), "--out", str(tmp_path / "a.json")]) == 0
    assert capsys.readouterr().out == "" and [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == printed(capsys, image)


def test_what_is_no_chest_or_no_reading_of_it_is_refused_in_one_sentence(image, tmp_path, capsys):
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (128, 128)).astype(np.uint8)).save(noise)
    Image.new("L", (20, 20)).save(tmp_path / "small.png")
    Image.new("L", (64, 64)).save(tmp_path / "flat.png")
    elsewhere = reading(tmp_path / "P1", ("abdomen",))
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([noise], "No pair of lungs is found on noise.png"),
        ([tmp_path / "flat.png"], "No pair of lungs is found on flat.png"),
        ([tmp_path / "small.png"], "64×64 or more"),
        ([tmp_path / "none.png"], "There is no image"),
        ([tmp_path / "flat.png", "--gaze", elsewhere], "beside an image of 64 × 64"),
        ([image, "--gaze", tmp_path / "empty"], "holds no gaze"),
        ([image, "--gaze", tmp_path / "none"], "There is no folder"),
    ):
        assert main(["anatomy", *map(str, arguments), "--out", str(tmp_path / "a.json")]) == 2
        out, err = capsys.readouterr()
        assert not out and words in err and err.count("\n") == 1 and err.endswith(".\n"), err
        assert not list(tmp_path.glob("a.json*"))


def test_it_imports_no_torch(image):
    code = (
        "import sys; from gazex.__main__ import main; status = main(['anatomy', sys.argv[1]]);"
        "sys.exit(status or bool({'torch', 'transformers', 'django'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(image)], check=False, capture_output=True).returncode == 0


def test_a_reading_given_twice_is_refused(image, tmp_path: Path, capsys):
    folder = reading(tmp_path / "once", ALPHABET)
    assert main(["anatomy", str(image), "--gaze", str(folder), str(folder)]) == 2
    assert "given twice" in capsys.readouterr().err
