"""The detectors on people's gaze: hand-labelled Lund 2013 image trials, and a Tobii TX300."""

from __future__ import annotations

import gzip
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.events import blinks
from capture.gaze.events.agreement import kappa
from capture.gaze.events.detection import Algorithm, detect
from capture.gaze.events.table import Kind
from tests.reference import REFERENCE, needs_reference

pytestmark = [needs_reference, pytest.mark.reference]

Floats = NDArray[np.float64]
LUND = Display(1024, 768, 380, 300, 670)
TX300 = Display(1920, 1080, 510, 287, 650)


@cache
def trials() -> list[tuple[str, NDArray[np.void]]]:
    found = []
    for path in sorted((REFERENCE / "lund2013").glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            found.append((path.name, np.genfromtxt(file, delimiter=",", names=True)))
    assert len(found) == 5
    return found


def agreement(algorithm: Algorithm, coder: str, *, every: int = 1, without: int = -1) -> dict[Kind, float]:
    """κ per class over all trials but one, at every n-th sample."""
    ours, theirs = [], []
    for i, (_, rows) in enumerate(trials()):
        if i != without:
            r = rows[::every]
            ours.append(detect(r["time_s"], np.c_[r["x_px"], r["y_px"]], LUND, algorithm=algorithm).labels)
            theirs.append(r[coder])
    a, b = np.concatenate(ours), np.concatenate(theirs)
    values = {kind: kappa(a == kind, b == kind) for kind in (Kind.FIXATION, Kind.SACCADE, Kind.PSO, Kind.BLINK)}
    return {kind: value for kind, value in values.items() if value is not None}


def test_the_adaptive_detector_agrees_with_coder_mn() -> None:
    found = agreement("adaptive", "label_MN")
    assert found[Kind.FIXATION] >= 0.87 and found[Kind.SACCADE] >= 0.88 and found[Kind.PSO] >= 0.68
    assert found[Kind.BLINK] >= 0.95


def test_it_agrees_with_the_other_coder_too() -> None:
    found = agreement("adaptive", "label_RA")
    assert found[Kind.FIXATION] >= 0.81 and found[Kind.SACCADE] >= 0.88 and found[Kind.PSO] >= 0.67


@pytest.mark.parametrize("without", range(5))
def test_no_single_trial_carries_the_agreement(without: int) -> None:
    found = agreement("adaptive", "label_MN", without=without)
    assert found[Kind.FIXATION] >= 0.84 and found[Kind.SACCADE] >= 0.86 and found[Kind.PSO] >= 0.62


@pytest.mark.parametrize(("every", "fixation", "saccade"), [(2, 0.84, 0.84), (4, 0.8, 0.72)], ids=["250 Hz", "125 Hz"])
def test_at_lower_rates_it_still_finds_fixations_and_saccades(every: int, fixation: float, saccade: float) -> None:
    found = agreement("adaptive", "label_MN", every=every)
    assert found[Kind.FIXATION] >= fixation and found[Kind.SACCADE] >= saccade


def test_ivt_and_idt_keep_their_agreement() -> None:
    assert agreement("ivt", "label_MN")[Kind.FIXATION] >= 0.82
    assert agreement("idt", "label_MN")[Kind.FIXATION] >= 0.6


@pytest.mark.parametrize("number", range(1, 6))
def test_a_noisy_tx300_recording_has_events_a_person_could_make(number: int) -> None:
    """300 Hz, 0.3 to 0.6 degrees from sample to sample: ten times the noise of a good recording."""
    rows = np.genfromtxt(REFERENCE / "tobii_tx300" / f"{number}.tsv", delimiter="\t", names=True)
    eyes = [np.stack([rows[f"{eye}GazePos2dx"], rows[f"{eye}GazePos2dy"]], axis=1) for eye in "LR"]
    seen = [rows[f"{eye}Validity"] < 2 for eye in "LR"]
    count = seen[0] + 0 + seen[1]
    total = sum(np.where(ok[:, None], eye, 0.0) for eye, ok in zip(eyes, seen, strict=True))
    xy = total / np.maximum(count, 1)[:, None]
    t = (rows["Time"] - rows["Time"][0]) / 1e6
    events = detect(t, TX300.to_px(xy), TX300, valid=count > 0)
    fixations, saccades = events.of(Kind.FIXATION), events.of(Kind.SACCADE)
    seconds = (count > 0).mean() * t[-1]
    assert 0.7 <= len(fixations) / seconds <= 5
    assert 0.15 <= np.median(fixations.offset_s - fixations.onset_s) <= 1.0
    assert 1 <= len(saccades) <= len(fixations)
    assert np.median(saccades.offset_s - saccades.onset_s) <= 0.1
    assert (events.labels[count == 0] >= Kind.BLINK).all()


def test_a_blink_of_the_coder_is_a_blink() -> None:
    """Each of the coder's five, also the two in which the tracker lost the eye for less than 50 ms."""
    coded = found = 0
    for _, rows in trials():
        labels = detect(rows["time_s"], np.c_[rows["x_px"], rows["y_px"]], LUND).labels
        starts, stops = blinks.runs(rows["label_MN"] == Kind.BLINK)
        for start, stop in zip(starts, stops, strict=True):
            coded += 1
            found += (labels[start:stop] == Kind.BLINK).mean() > 0.7
    assert coded == found == 5
