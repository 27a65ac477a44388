"""Fixations of stretches of a reading, held to the definition, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from gazex.evidence.fixations import (
    DISPERSION_DEG,
    MAX_GAP_S,
    MIN_DURATION_S,
    Point,
    Samples,
    condense,
    fixations,
)


def by_definition(t, x, y, ppd: float) -> list[Point]:
    """I-DT as it is written: grow a run while it stays together; keep it if it is long enough, else go on by one."""
    good = np.isfinite(x) & np.isfinite(y)
    t, u, v = t[good], x[good] / ppd, y[good] / ppd
    out, start = [], 0
    while start < len(t):
        end = start + 1
        while end < len(t) and t[end] - t[end - 1] <= MAX_GAP_S:
            extent = np.ptp(u[start : end + 1]) + np.ptp(v[start : end + 1])
            if extent > DISPERSION_DEG:
                break
            end += 1
        if t[end - 1] - t[start] < MIN_DURATION_S:
            start += 1
            continue
        duration = float((t[end - 1] - t[start]) * 1000)
        out.append(Point(float(u[start:end].mean() * ppd), float(v[start:end].mean() * ppd), float(t[start]), duration))
        start = end
    return out


def gaze(seed: int):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 260))
    if seed % 2:  # a tracker that drops, doubles and delays samples
        t = np.cumsum(rng.choice([0.0, 0.002, 0.01, 0.02, 0.2], n, p=[0.05, 0.3, 0.3, 0.3, 0.05]))
    else:
        t = np.arange(n) * rng.choice([0.02, 0.01, 1 / 600, 0.04, 0.08])
    x, y = (np.cumsum(rng.normal(0, step, n)) for step in (rng.choice([2, 8, 30]), 4))
    x[rng.random(n) < 0.02] = np.nan
    return t, x, y, rng


@pytest.mark.parametrize("seed", range(40))
def test_fixations_are_those_of_the_definition_also_within_a_stretch(seed):
    t, x, y, rng = gaze(seed)
    assert fixations(t, x, y, 38.0, 38.0) == by_definition(t, x, y, 38.0)
    samples = Samples(t, x, y, 38.0, 38.0)
    for a, b in np.sort(rng.uniform(-0.1, t[-1] + 0.1 if len(t) else 1.0, (4, 2)), axis=1):
        inside = (t >= a) & (t <= b)
        assert samples.fixations(a, b) == by_definition(t[inside], x[inside], y[inside], 38.0)


def test_the_nearest_two_points_are_merged_first():
    points = [Point(0, 0, 0, 100), Point(10, 0, 1, 300), Point(100, 0, 2, 100), Point(300, 0, 3, 100)]
    assert [(p.x, p.duration_ms) for p in condense(points, 3)] == [(7.5, 400), (100, 100), (300, 100)]
    assert [(round(p.x, 9), p.duration_ms) for p in condense(points, 2)] == [(26.0, 500), (300, 100)]
    assert condense([], 2) == [] and condense(points, 9) == points
