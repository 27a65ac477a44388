from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.gaze.events import filters

Floats = NDArray[np.float64]
FILTERS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "median": lambda t, x: filters.median(t, x, width=5),
    "moving_average": lambda t, x: filters.moving_average(t, x, width=5),
    "savitzky_golay": lambda t, x: filters.savitzky_golay(t, x, width=7),
    "despike": filters.despike,
}
every = pytest.mark.parametrize("name", FILTERS)


@every
@given(seed=st.integers(0, 2**32 - 1), lost=st.integers(0, 30), missing=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_what_is_lost_stays_lost_and_reaches_no_neighbour(name: str, seed: int, lost: int, missing: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (120, 2))
    x[40 : 40 + lost] = np.nan
    t = np.arange(120) / 500
    t[90:] += missing / 500
    out = FILTERS[name](t, x)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    # Each side of the loss is filtered as if the other did not exist.
    if lost:
        np.testing.assert_allclose(out[:40], FILTERS[name](t[:40], x[:40]))
    if missing > 10:
        np.testing.assert_allclose(out[90:], FILTERS[name](t[90:], x[90:]))


@every
def test_gaze_at_rest_is_untouched(name: str) -> None:
    np.testing.assert_allclose(FILTERS[name](np.arange(50) / 500, np.full(50, 3.5)), 3.5)


def test_despike_takes_out_one_sample_and_leaves_a_saccade() -> None:
    t = np.arange(8) / 500
    np.testing.assert_array_equal(filters.despike(t, [0, 0, 9, 1, 1, 5, 9, 9]), [0, 0, 1, 1, 1, 5, 9, 9])


def test_the_median_keeps_an_edge_that_the_average_blurs() -> None:
    t, step = np.arange(10) / 500, np.repeat([0.0, 1.0], 5)
    np.testing.assert_array_equal(filters.median(t, step, width=3), step)
    np.testing.assert_allclose(filters.moving_average(t, step, width=3)[4:6], [1 / 3, 2 / 3])


@pytest.mark.parametrize(("width", "order"), [(5, 2), (7, 3), (9, 4)])
def test_savitzky_golay_returns_a_polynomial_of_its_order(width: int, order: int) -> None:
    t = np.arange(40) / 500
    curve = np.polyval(np.arange(1.0, order + 2), t * 10)
    np.testing.assert_allclose(filters.savitzky_golay(t, curve, width=width, order=order), curve)


def test_savitzky_golay_is_scipys() -> None:
    signal = pytest.importorskip("scipy.signal")
    x = np.random.default_rng(0).normal(size=200)
    ours = filters.savitzky_golay(np.arange(200) / 500, x, width=11, order=3)
    np.testing.assert_allclose(ours, signal.savgol_filter(x, 11, 3))


@pytest.mark.parametrize("call", [lambda t, x: filters.median(t, x, width=4), lambda t, x: filters.despike(t[:3], x)])
def test_an_even_width_and_unlike_lengths_are_refused(call: Callable[[Floats, Floats], Floats]) -> None:
    with pytest.raises(ValueError, match=r"odd number|needed"):
        call(np.arange(9) / 500, np.zeros(9))
