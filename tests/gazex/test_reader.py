"""The simulated reader looks where the findings are, and speaks after looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.gaze.simulate.reader import PROTOCOL, inspect, phrase
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
