"""The simulated reader looks where the findings are, and speaks after looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.gaze.simulate.reader import PROTOCOL, Habit, inspect, phrase
from gazex.phantoms import make_phantom


@settings(max_examples=30, deadline=None)
@given(index=st.integers(0, 5000), seed=st.integers(0, 2**32), duration=st.floats(4, 60))
def test_fixations_stay_in_the_image_in_order_and_in_time(index, seed, duration):
    phantom = make_phantom(8, index, (64, 64), draw=False)
    path = inspect(phantom.regions, phantom.findings, rng=np.random.default_rng(seed), duration_s=duration)
    assert len(path) > 0
    assert (path.x >= 0).all() and (path.x <= 63).all() and (path.y >= 0).all() and (path.y <= 63).all()
    assert (np.diff(path.onset_s) > 0).all()
    assert (path.onset_s[1:] >= (path.onset_s + path.duration_s)[:-1]).all()
    assert path.onset_s[-1] + path.duration_s[-1] <= duration + 1e-9
    for (_, t0, t1), (_, u0, _) in zip(path.sentences, path.sentences[1:], strict=False):
        assert 0 <= t0 < t1 <= u0


def test_a_finding_holds_the_eyes_before_its_sentence_ends():
    shares = []
    for index in range(40):
        phantom = make_phantom(8, index, (64, 64), normal_share=0.0, draw=False)
        path = inspect(phantom.regions, phantom.findings, rng=np.random.default_rng(index), duration_s=20)
        for step, (name, _) in enumerate(PROTOCOL):
            for f in phantom.findings:
                if f.finding == name:
                    on = path.topic == step
                    x0, y0, x1, y1 = f.box
                    hit = (path.x >= x0) & (path.x <= x1) & (path.y >= y0) & (path.y <= y1)
                    shares.append(hit[on].mean())
    assert np.mean(shares) > 0.6


def test_lures_are_looked_at_first_and_never_spoken_of():
    phantom = next(p for p in (make_phantom(8, i, (64, 64), draw=False) for i in range(99)) if len(p.lures) == 2)
    path = inspect(phantom.regions, [], rng=np.random.default_rng(0), lures=phantom.lures)
    plain = inspect(phantom.regions, [], rng=np.random.default_rng(0))
    first = path.onset_s < 0.8 * path.sentences[0][1] / 2
    on = np.zeros(len(path), bool)
    for x0, y0, x1, y1 in phantom.lures:
        on |= (path.x >= x0) & (path.x <= x1) & (path.y >= y0) & (path.y <= y1)
    assert on[first].all() and path.duration_s[on].sum() > 4.0
    assert len(path.sentences) == len(plain.sentences) == len(PROTOCOL)


def test_readers_differ_in_their_habits():
    phantom = make_phantom(8, 3, (64, 64), normal_share=0.0, draw=False)

    def read(habit):
        return inspect(phantom.regions, phantom.findings, rng=np.random.default_rng(5), duration_s=60, habit=habit)

    usual, slow, other = read(None), read(Habit(tempo_s=0.4)), read(Habit(left_first=True))
    assert np.median(slow.duration_s) > 1.3 * np.median(usual.duration_s)
    assert usual.x[0] < 32 < other.x[0]


def test_the_same_generator_state_gives_the_same_reading():
    phantom = make_phantom(8, 1, (64, 64))
    a, b = (inspect(phantom.regions, phantom.findings, rng=np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(a.x, b.x) and a.sentences == b.sentences


def test_a_reader_who_misses_the_finding_denies_it():
    phantom = next(
        p for p in (make_phantom(8, i, (64, 64), draw=False) for i in range(99)) if "Pneumothorax" in p.labels
    )
    path = inspect(phantom.regions, [], rng=np.random.default_rng(0))
    assert path.sentences[0][0].lower().startswith(("no", "there is no"))


def test_impossible_readings_are_refused_in_one_sentence():
    regions = {"heart": (0.0, 0.0, 9.0, 9.0)}
    for call in (
        lambda: inspect({}, [], rng=np.random.default_rng(0)),
        lambda: inspect(regions, [], rng=np.random.default_rng(0), duration_s=0.5),
        lambda: inspect(regions, [], rng=np.random.default_rng(0), report=["One."]),
        lambda: phrase("Fracture", "", present=True),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
            call()
