"""The simulated reader looks where a reader would look, in a time of the test's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent.sources.simulator import LATENCY_S, Bias, Fixation, Reader, View
from capture.gaze.simulate.samples import Gaze, Geometry

GEOMETRY = Geometry()
SIZE = np.array([GEOMETRY.width_px, GEOMETRY.height_px])
FIT = [0.7, 0.0, 0.0, 0.7, 290.0, 50.0]  # a 1000 x 1000 image centred on 1280 x 800
ZOOM = [2.1, 0.0, 0.0, 2.1, -500.0, -300.0]


class Session:
    """A reader in front of a screen, in 20 ms ticks from time 0."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.gaze = Gaze(GEOMETRY, 250, rng, noise_deg=0.0, loss=0, blinks=0)
        self.fixations: list[tuple[Fixation, float, float, bool]] = []
        self.reader = Reader(self.gaze, rng, 0.0, self._report)
        self.now = 0.0
        self.t = np.empty(0)
        self.xy = np.empty((0, 2))

    def _report(self, fixation: Fixation, offset: float, interrupted: bool) -> None:
        self.fixations.append((fixation, fixation.onset, offset, interrupted))

    def show(self, kind: str, **content: Any) -> None:
        self.reader.show({"kind": kind, **content}, self.now)

    def view(self, matrix: list[float], seq: int = 1, rows: int = 1000, columns: int = 1000) -> None:
        self.show("viewport", seq=seq, a=matrix, rows=rows, columns=columns)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.reader.look(self.now)
            t = self.now - 0.02 + np.arange(5) / 250
            self.t = np.concatenate([self.t, t])
            self.xy = np.concatenate([self.xy, self.gaze.sample(t).left * SIZE])

    def at(self, since: float, until: float) -> np.ndarray:
        return self.xy[(self.t >= since) & (self.t < until)]


def test_a_target_is_looked_at_after_a_saccades_latency() -> None:
    session = Session()
    session.run(1)
    session.show("target", x=0.1, y=0.9)
    session.run(1)
    target = np.array([0.1, 0.9]) * SIZE
    before, after = session.at(1.0, 1.0 + LATENCY_S[0] - 0.02), session.at(1.0 + LATENCY_S[1] + 0.09, 2.0)
    assert GEOMETRY.degrees(*(after - target).T).max() < 0.5
    assert GEOMETRY.degrees(*(before - target).T).min() > 5


def test_fixations_in_the_truth_are_where_the_samples_are() -> None:
    session = Session(seed=3)
    session.view(FIT)
    session.run(10)
    session.view(ZOOM, seq=2)
    session.run(10)
    assert len(session.fixations) > 40
    for fixation, onset, offset, _ in session.fixations:
        rest = session.at(onset, offset)
        if len(rest):
            assert GEOMETRY.degrees(*(rest - fixation.screen).T).max() < 0.5


def test_fixations_last_as_long_as_readers_rest() -> None:
    session = Session(seed=4)
    session.view(FIT)
    session.run(30)
    lengths = [offset - onset for _, onset, offset, interrupted in session.fixations if not interrupted]
    assert 60 < len(lengths) < 140
    assert min(lengths) >= 0.149 and max(lengths) <= 0.601


def test_a_moved_image_is_followed_to_its_point_under_the_new_matrix() -> None:
    followed = 0
    for seed in range(12):
        session = Session(seed=seed)
        session.view(FIT)
        session.run(3)
        count = len(session.fixations)
        session.view([0.9, 0.0, 0.0, 0.9, 200.0, -40.0], seq=2)
        session.run(1.2)
        old, _, offset, interrupted = session.fixations[count]
        if not interrupted or old.image is None:  # it was in flight
            continue
        new, landed, _, _ = session.fixations[count + 1]
        assert offset == pytest.approx(3.0)
        assert new.image == old.image and new.view and new.view.seq == 2
        assert new.screen == pytest.approx(new.view.to_screen(*old.image))
        assert LATENCY_S[0] < landed - 3.0 < LATENCY_S[1] + 0.1
        followed += 1
    assert followed >= 6


def test_an_image_that_keeps_moving_is_followed_before_it_rests() -> None:
    session = Session(seed=1)
    session.view(FIT)
    session.run(3)
    for k in range(50):
        session.view([0.7, 0.0, 0.0, 0.7, 290.0 + 4 * k, 50.0], seq=k + 2)
        session.run(0.02)
    moves = GEOMETRY.degrees(*np.diff(session.at(3.1, 3.8), axis=0).T)
    assert moves.max() > 0.3  # degrees in 4 ms: no drift is as fast


def test_the_same_viewport_again_is_no_news() -> None:
    session = Session(seed=2)
    session.view(FIT)
    session.run(2)
    for k in range(20):
        session.view(FIT, seq=5 + k)
        session.run(0.1)
    assert not any(interrupted for _, onset, _, interrupted in session.fixations if onset > 0.5)


def test_nothing_to_see_is_looked_at_about_the_centre() -> None:
    session = Session(seed=5)
    session.view([0.7, 0.0, 0.0, 0.7, 5000.0, 5000.0])
    session.run(5)
    session.show("blank")
    session.run(5)
    assert len(session.fixations) > 10
    assert np.median(GEOMETRY.degrees(*(session.xy - SIZE / 2).T)) < 3
    assert all(fixation.image is None for fixation, *_ in session.fixations)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(0.2, 6),
    angle=st.sampled_from([0.0, np.pi / 2, np.pi]),
    flip=st.booleans(),
    x=st.floats(-600, 1200),
    y=st.floats(-600, 800),
    seed=st.integers(0, 5),
)
def test_every_fixation_on_an_image_is_on_the_image_and_on_the_screen(
    scale: float, angle: float, flip: bool, x: float, y: float, seed: int
) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    sign = -1 if flip else 1
    session = Session(seed=seed)
    session.view([sign * c, sign * s, -s, c, x, y], rows=1200, columns=900)
    session.run(2)
    for fixation, onset, _, _ in session.fixations:
        if fixation.image is not None:
            assert fixation.view and fixation.view.shows(*fixation.image, GEOMETRY)
            assert fixation.view.to_image(*fixation.screen) == pytest.approx(fixation.image, abs=1e-6)
            assert onset > 0.1


@pytest.mark.parametrize(
    "stimulus",
    [
        {"kind": "viewport", "seq": 1, "a": [0, 0, 0, 0, 1, 1], "rows": 10, "columns": 10},
        {"kind": "viewport", "seq": 1, "a": [1, 0, 0, 1, 1], "rows": 10, "columns": 10},
        {"kind": "viewport", "seq": 1, "a": [1, 0, 0, 1, float("nan"), 1], "rows": 10, "columns": 10},
        {"kind": "viewport"},
        {"kind": "target", "x": "left", "y": 0},
        {"kind": "fireworks"},
    ],
)
def test_a_stimulus_that_is_none_is_refused_and_changes_nothing(stimulus: dict[str, Any]) -> None:
    session = Session()
    session.view(FIT)
    session.run(1)
    with pytest.raises((ValueError, KeyError)):
        session.reader.show(stimulus, session.now)
    session.run(1)
    assert session.fixations[-1][0].view == View(1, tuple(FIT), 1000, 1000)  # type: ignore[arg-type]


def test_the_systematic_error_is_a_degree_and_three_percent_and_can_be_undone() -> None:
    for seed in range(10):
        bias = Bias.draw(np.random.default_rng(seed), GEOMETRY, 1.0, 0.03)
        centre = np.array([[0.5, 0.5]])
        for eye in range(2):
            error = GEOMETRY.degrees(*((bias.apply(eye, centre, GEOMETRY) - centre) * SIZE).T)[0]
            assert 0.7 < error < 1.3
            assert np.all((bias.scale[eye] > 1.026) & (bias.scale[eye] < 1.034))
            points = np.random.default_rng(1).uniform(0, 1, (20, 2))
            assert bias.remove(eye, bias.apply(eye, points, GEOMETRY), GEOMETRY) == pytest.approx(points)
