"""What every detector promises, and what each finds where the truth is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.events import adaptive, idt, ivt
from capture.gaze.events.agreement import kappa
from capture.gaze.events.compiled import Loop
from capture.gaze.events.detection import ALGORITHMS, Algorithm, detect
from capture.gaze.events.table import Events, Kind, angle, runs
from capture.gaze.events.velocity import slopes

Floats = NDArray[np.float64]
DISPLAY = Display(1024, 768, 380, 300, 670)
ROOT = Path(__file__).resolve().parents[3]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Looks and jumps with noise, losses, artefacts beside the screen and missing samples: times [N], px [N, 2]."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rate = draw(st.sampled_from([60.0, 120.0, 250.0, 300.0, 500.0, 1000.0]))
    looks = draw(st.integers(1, 6))
    noise = draw(st.sampled_from([0.0, 1.0, 8.0]))
    parts = []
    place = rng.uniform((100, 100), (900, 650))
    for _ in range(looks):
        parts.append(np.tile(place, (int(rng.uniform(0.02, 0.4) * rate) + 1, 1)))
        new = rng.uniform((100, 100), (900, 650))
        share = np.linspace(0, 1, int(rng.uniform(0.01, 0.06) * rate) + 2)[1:-1, None]
        parts.append(place + (new - place) * (1 - np.cos(np.pi * share)) / 2)
        place = new
    px = np.concatenate(parts)
    px = px + rng.normal(0, noise, px.shape) if noise else px
    n = len(px)
    for _ in range(draw(st.integers(0, 3))):
        a = int(rng.integers(n))
        px[a : a + int(rng.integers(1, 40))] = draw(st.sampled_from([np.nan, 0.0, -7000.0]))
    t = np.arange(n) / rate
    keep = np.ones(n, dtype=bool)
    for _ in range(draw(st.integers(0, 2))):
        a = int(rng.integers(n))
        keep[a : a + int(rng.integers(1, 60))] = False
    if keep.sum() < 2:
        keep[:] = True
    return t[keep], px[keep]


def same(a: Events, b: Events) -> bool:
    return bool(
        np.array_equal(a.labels, b.labels)
        and np.array_equal(a.kind, b.kind)
        and np.array_equal(a.start, b.start)
        and np.array_equal(a.stop, b.stop)
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(recording=recordings())
@settings(max_examples=25, deadline=None)
def test_events_are_ordered_and_share_out_every_sample(algorithm: Algorithm, recording: tuple[Floats, Floats]) -> None:
    t, px = recording
    events = detect(t, px, DISPLAY, algorithm=algorithm)
    assert events.start[0] == 0 and events.stop[-1] == len(t)
    np.testing.assert_array_equal(events.start[1:], events.stop[:-1])
    assert (events.onset_s <= events.offset_s + 1e-12).all()
    assert (events.onset_s[1:] > events.offset_s[:-1]).all()
    for kind, start, stop in zip(events.kind, events.start, events.stop, strict=True):
        held = events.labels[start:stop]
        assert ((held == kind) | ((held == Kind.UNDEFINED) & (kind == Kind.FIXATION))).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(recording=recordings())
@settings(max_examples=25, deadline=None)
def test_only_samples_with_gaze_are_fixation_saccade_or_pso(
    algorithm: Algorithm, recording: tuple[Floats, Floats]
) -> None:
    t, px = recording
    labels = detect(t, px, DISPLAY, algorithm=algorithm).labels
    lost = ~np.isfinite(px).all(axis=1) | (px == 0).all(axis=1) | (px == -7000).any(axis=1)
    assert np.isin(labels[lost], (Kind.BLINK, Kind.UNDEFINED)).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(recording=recordings(), shift=st.sampled_from([-64.0, 8.0, 4096.0]))
@settings(max_examples=25, deadline=None)
def test_a_shift_in_time_moves_events_and_changes_none(
    algorithm: Algorithm, recording: tuple[Floats, Floats], shift: float
) -> None:
    # Times on a grid of 2^-20 s, so that the shift itself rounds nothing.
    t = np.round(recording[0] * 2**20) / 2**20
    a = detect(t, recording[1], DISPLAY, algorithm=algorithm)
    b = detect(t + shift, recording[1], DISPLAY, algorithm=algorithm)
    assert same(a, b)
    np.testing.assert_allclose(b.onset_s - shift, a.onset_s, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(recording=recordings())
@settings(max_examples=25, deadline=None)
def test_the_mirror_image_has_the_same_events(algorithm: Algorithm, recording: tuple[Floats, Floats]) -> None:
    t, px = recording
    # Mirrored about the screen's centre line, on a grid of 2^-10 px: exact, and (0, 0) stays the mark of a loss.
    px = np.round(px * 1024) / 1024
    lost = (px == 0).all(axis=1)
    mirrored = np.where(lost[:, None], 0.0, np.c_[1024 - px[:, 0], px[:, 1]])
    a = detect(t, px, DISPLAY, algorithm=algorithm)
    b = detect(t, mirrored, DISPLAY, algorithm=algorithm)
    assert same(a, b)
    np.testing.assert_allclose(b.amplitude_deg, a.amplitude_deg, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(recording=recordings())
@settings(max_examples=10, deadline=None)
def test_the_same_recording_has_the_same_events(algorithm: Algorithm, recording: tuple[Floats, Floats]) -> None:
    kept = recording[1].copy()
    first = detect(*recording, DISPLAY, algorithm=algorithm)
    assert same(first, detect(*recording, DISPLAY, algorithm=algorithm))
    np.testing.assert_array_equal(recording[1], kept)


@given(recording=recordings())
@settings(max_examples=30, deadline=None)
def test_numba_changes_no_result(recording: tuple[Floats, Floats]) -> None:
    pytest.importorskip("numba")
    t, px = recording
    results: list[list[Events]] = []
    for compiled in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Loop, "pays", staticmethod(lambda samples, yes=compiled: yes))
            results.append([detect(t, px, DISPLAY, algorithm=a) for a in ALGORITHMS])
            results[-1].append(slopes(t, DISPLAY.to_degrees(px), window_s=0.02))  # type: ignore[arg-type]
    for a, b in zip(results[0][:-1], results[1][:-1], strict=True):
        assert same(a, b)
    np.testing.assert_array_equal(results[0][-1], results[1][-1])


def test_without_numba_the_detectors_run_and_agree() -> None:
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "numba":
            raise ImportError("no numba here")
sys.meta_path.insert(0, Refuse())
import numpy as np
from capture.gaze.display import Display
from capture.gaze.events import compiled
from capture.gaze.events.detection import ALGORITHMS, detect
compiled.WORTH_SAMPLES = 0
rng = np.random.default_rng(3)
px = np.repeat(rng.uniform(100, 700, (12, 2)), 100, axis=0) + rng.normal(0, 1, (1200, 2))
px[500:560] = np.nan
t = np.arange(1200) / 500
print([np.bincount(detect(t, px, Display(1024, 768, 380, 300, 670), algorithm=a).labels, minlength=7).tolist()
       for a in ALGORITHMS], "numba" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rng = np.random.default_rng(3)
    px = np.repeat(rng.uniform(100, 700, (12, 2)), 100, axis=0) + rng.normal(0, 1, (1200, 2))
    px[500:560] = np.nan
    here = [
        np.bincount(detect(np.arange(1200) / 500, px, DISPLAY, algorithm=a).labels, minlength=7).tolist()
        for a in ALGORITHMS
    ]
    assert out.strip() == f"{here} False"


def classic_idt(t: Floats, xy: Floats, dispersion: float, shortest: float) -> list[tuple[int, int]]:
    """Salvucci & Goldberg's own wording, one sample dropped at a time."""
    step = float(np.median(np.diff(t)))
    needed = round(shortest / step)
    found, i = [], 0
    while i + needed <= len(t):
        j = i + needed
        if np.ptp(xy[i:j], axis=0).sum() > dispersion:
            i += 1
            continue
        while j < len(t) and np.ptp(xy[i : j + 1], axis=0).sum() <= dispersion:
            j += 1
        found.append((i, j))
        i = j
    return found


@given(seed=st.integers(0, 2**32 - 1), walk=st.sampled_from([0.02, 0.1, 0.4]))
@example(seed=0, walk=0.0)
@settings(max_examples=40, deadline=None)
def test_idt_in_one_pass_finds_the_windows_of_the_original(seed: int, walk: float) -> None:
    rng = np.random.default_rng(seed)
    xy = np.cumsum(rng.normal(0, walk, (400, 2)), axis=0)
    t = np.arange(400) / 100
    starts, stops = idt.detect(t, xy, dispersion_deg=1.0, min_duration_s=0.1)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == classic_idt(t, xy, 1.0, 0.1)


def saccade_with_pso(rate: float, *, overshoot_deg: float = 0.8) -> tuple[Floats, Floats]:
    """A look, a saccade of 8° in 40 ms, 25 ms in which the eye swings over and back, a look: times, degrees."""
    t = np.arange(int(0.8 * rate)) / rate
    u = np.clip((t - 0.3) / 0.04, 0, 1)
    x = -4 + 8 * (10 * u**3 - 15 * u**4 + 6 * u**5)
    s = np.clip((t - 0.34) / 0.025, 0, 1)
    x -= overshoot_deg * np.sin(np.pi * s) ** 2
    rng = np.random.default_rng(1)
    return t, np.c_[x, np.zeros(len(t))] + rng.normal(0, 0.01, (len(t), 2))


@pytest.mark.parametrize("rate", [500.0, 1000.0])
def test_a_saccade_and_the_ringing_after_it_are_told_apart(rate: float) -> None:
    t, degrees = saccade_with_pso(rate)
    labels = adaptive.classify(t, degrees)
    for kind, onset, offset in ((Kind.SACCADE, 0.3, 0.34), (Kind.PSO, 0.34, 0.365)):
        starts, stops = runs(labels == kind)
        assert len(starts) == 1
        assert abs(t[starts[0]] - onset) < 0.009 and abs(t[stops[0] - 1] - offset) < 0.009
    assert len(runs(labels == Kind.FIXATION)[0]) == 2


def test_a_saccade_that_comes_to_rest_has_no_pso() -> None:
    t, degrees = saccade_with_pso(500, overshoot_deg=0.0)
    assert not (adaptive.classify(t, degrees) == Kind.PSO).any()


def test_two_saccades_close_together_are_two() -> None:
    t = np.arange(400) / 500
    x = np.zeros(400)
    for at, size in ((0.3, 4.0), (0.36, 9.0)):
        u = np.clip((t - at) / 0.04, 0, 1)
        x += size * (10 * u**3 - 15 * u**4 + 6 * u**5)
    labels = adaptive.classify(t, np.c_[x, x * 0] + np.random.default_rng(0).normal(0, 0.01, (400, 2)))
    assert len(runs(labels == Kind.SACCADE)[0]) == 2


def test_thresholds_rise_with_the_noise_of_the_recording() -> None:
    rng = np.random.default_rng(2)
    t = np.arange(2000) / 500
    peaks = []
    for noise in (0.01, 0.05, 0.1):
        pace = ivt.velocity(t, rng.normal(0, noise, (2000, 2)), window_s=0.012)
        limits = adaptive.thresholds(pace)
        assert limits.peak > limits.edge > limits.ringing > limits.still
        assert np.mean(pace > limits.peak) < 0.001
        peaks.append(limits.peak)
    assert peaks == sorted(peaks) and peaks[2] > 3 * peaks[0]


def test_a_recording_without_noise_is_one_fixation() -> None:
    px = np.full((1000, 2), 400.0) + np.sin(np.arange(1000) / 50)[:, None] * 0.2
    events = detect(np.arange(1000) / 500, px, DISPLAY)
    assert events.kind.tolist() == [Kind.FIXATION]


def blink_recording() -> tuple[Floats, Floats]:
    """Gaze at rest; the lid drags it down for 40 ms, covers it for 100 ms and lets it come back in 40 ms."""
    px = np.tile([500.0, 300.0], (1000, 1)) + np.random.default_rng(4).normal(0, 0.5, (1000, 2))
    px[400:420, 1] += np.linspace(10, 400, 20)
    px[420:470] = np.nan
    px[470:490, 1] += np.linspace(400, 10, 20)
    return np.arange(1000) / 500, px


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blink_holds_the_false_movement_around_it(algorithm: Algorithm) -> None:
    t, px = blink_recording()
    events = detect(t, px, DISPLAY, algorithm=algorithm)
    blink = events.of(Kind.BLINK)
    assert len(blink) == 1 and not (events.kind == Kind.SACCADE).any()
    assert 396 <= blink.start[0] <= 403 and 487 <= blink.stop[0] <= 494


def test_the_trackers_word_on_validity_makes_a_blink_too() -> None:
    t, px = blink_recording()
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(px).all(axis=1))
    filled = np.where(valid[:, None], px, 512.0)
    assert same(detect(t, px, DISPLAY), detect(t, filled, DISPLAY, valid=valid))


def test_a_short_loss_without_movement_is_no_blink_and_does_not_tear_the_fixation() -> None:
    t = np.arange(1000) / 500
    px = np.tile([500.0, 300.0], (1000, 1)) + np.random.default_rng(4).normal(0, 0.5, (1000, 2))
    px[500:515] = 0.0
    events = detect(t, px, DISPLAY)
    assert events.kind.tolist() == [Kind.FIXATION]
    assert (events.labels[500:515] == Kind.UNDEFINED).all()


def test_eyes_closed_for_seconds_are_no_blink() -> None:
    t = np.arange(2000) / 500
    px = np.tile([500.0, 300.0], (2000, 1))
    px[400:1400] = np.nan
    assert detect(t, px, DISPLAY).kind.tolist() == [Kind.FIXATION, Kind.UNDEFINED, Kind.FIXATION]


def test_a_hole_in_the_times_is_a_row_without_samples() -> None:
    t = np.r_[np.arange(300), np.arange(400, 700)] / 500
    events = detect(t, np.tile([500.0, 300.0], (600, 1)), DISPLAY)
    assert events.kind.tolist() == [Kind.FIXATION, Kind.UNDEFINED, Kind.FIXATION]
    assert events.start[1] == events.stop[1] == 300
    np.testing.assert_allclose([events.onset_s[1], events.offset_s[1]], [0.6, 0.798])


def test_amplitude_is_the_angle_at_the_eye() -> None:
    px = np.array([[0.0, 0.0], [1024.0, 768.0], [1024.0, 0.0]])
    d = DISPLAY.to_degrees(px)
    np.testing.assert_allclose(angle(d[0], d[1:]), DISPLAY.angle_between(px[0], px[1:]), atol=1e-9)


def test_kappa_is_cohens() -> None:
    # Cohen (1960): 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no gives po 0.70, pe 0.50, kappa 0.40.
    a = np.r_[np.ones(25), np.zeros(25)] == 1
    b = np.r_[np.ones(20), np.zeros(5), np.ones(10), np.zeros(15)] == 1
    assert kappa(a, b) == pytest.approx(0.4)
    assert kappa([False, False], [False, False]) is None


@pytest.mark.parametrize(
    ("t", "px", "message"),
    [
        ([0, 0.002, 0.002], np.zeros((3, 2)), "ascend"),
        ([0, np.nan, 0.002], np.zeros((3, 2)), "ascend"),
        ([0, 0.002], np.zeros((3, 2)), "needed for 2 times"),
    ],
    ids=["repeated", "nan", "shapes"],
)
def test_times_and_shapes_that_cannot_be_are_refused(t: list[float], px: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detect(t, px, DISPLAY)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_almost_no_samples_are_no_accident(algorithm: Algorithm, n: int) -> None:
    events = detect(np.arange(n) / 500, np.full((n, 2), 400.0), DISPLAY, algorithm=algorithm)
    assert len(events.labels) == n


@pytest.mark.parametrize("window_s", [0.012, 0.02])
def test_evenly_spaced_and_jittered_times_give_one_speed(window_s: float) -> None:
    rng = np.random.default_rng(5)
    even = np.arange(300) / 500
    jittered = even + rng.uniform(-4e-4, 4e-4, 300)
    for t in (even, jittered):
        np.testing.assert_allclose(slopes(t, np.c_[30 * t, -40 * t], window_s=window_s).T, [[30, -40]] * 300)
