"""A GazeTrack and its utterances give the very boxes of the REFLACX folder they are exported to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.gaze.formats import reflacx
from capture.gaze.formats.reading import Reading, track_from_image_gaze
from capture.gaze.track import GazeTrack
from gazex.evidence.boxes import boxes
from gazex.evidence.folder import read_folder
from gazex.evidence.track import reading_of
from tests.gazex.test_evidence_boxes import scanpath

SAID = (("The heart is large.", 2.2, 5.0), ("The lungs are clear.", 5.4, 8.8))


def track(seed: int = 3, beside: float = 0.0) -> GazeTrack:
    gaze = scanpath(seed, places=5, beside=beside)
    ppd = gaze.ppd_x, gaze.ppd_y
    return track_from_image_gaze(gaze.t_s, gaze.x, gaze.y, rows=400, columns=480, source="test", ppd=ppd)


def boxes_of(reading) -> list[tuple]:
    found = boxes(reading.gaze, reading.times, reading.rows, reading.columns)
    return [(k, f.cluster, f.box, f.centroid, f.time_s) for k, f in found]


@pytest.mark.parametrize(("seed", "beside"), [(3, 0.0), (2, 0.0), (3, 0.3)])
def test_a_track_gives_the_boxes_of_its_folder(tmp_path: Path, seed, beside):
    made = track(seed, beside)
    reflacx.write(Reading("a", "r", "image", made, sentences=SAID), tmp_path)
    folders = [tmp_path / place / "P300R000001" for place in ("main_data", "gaze_data")]
    from_track = boxes_of(reading_of(made, SAID))
    assert len({k for k, *_ in from_track}) == 2 and len(from_track) > 3
    for folder in folders:
        back = read_folder(folder, width=480, height=400)
        assert boxes_of(back) == from_track
        assert [text.replace(" .", ".") for text, _, _ in back.sentences] == [text for text, _, _ in SAID]


def test_a_track_survives_its_file_and_gives_the_same(tmp_path: Path):
    made = track()
    made.save(tmp_path / "t.npz")
    assert boxes_of(reading_of(GazeTrack.load(tmp_path / "t.npz"), SAID)) == boxes_of(reading_of(made, SAID))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "has no utterance"),
        ([("Oops.", 5.0, 2.0)], "“Oops.” runs from 5 to 2 s"),
        ([("Oops.", np.nan, 2.0)], "must run forward"),
    ],
)
def test_utterances_without_times_are_refused_in_one_sentence(said, why):
    with pytest.raises(ValueError, match=why):
        reading_of(track(), said)


def test_a_track_without_gaze_or_without_degrees_is_refused():
    nothing = np.full(9, np.nan)
    lost = track_from_image_gaze(np.arange(9) / 9, nothing, nothing, rows=400, columns=480, source="test")
    with pytest.raises(ValueError, match="has no gaze"):
        reading_of(lost, SAID)
