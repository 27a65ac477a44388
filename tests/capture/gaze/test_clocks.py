from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.gaze import clocks

Floats = NDArray[np.float64]


class Clocks:
    """Two clocks with a known relation: lsl = browser · (1 + drift) + offset."""

    def __init__(self, drift_ppm: float = 40.0, offset_s: float = 91_234.567) -> None:
        self.drift, self.offset = drift_ppm * 1e-6, offset_s

    def lsl(self, browser_s: Floats) -> Floats:
        return browser_s * (1 + self.drift) + self.offset

    def exchanges(self, at_s: Floats, rng: np.random.Generator, load: float = 0.0) -> Floats:
        """Exchanges with delays of 0.1 ms each way, and under load now and then 20 ms on one of the ways."""
        out = (
            0.0001
            + rng.exponential(0.0002, len(at_s))
            + rng.exponential(0.02, len(at_s)) * (rng.random(len(at_s)) < load)
        )
        back = 0.0001 + rng.exponential(0.0002, len(at_s))
        arrive = self.lsl(at_s + out)
        leave = arrive + 20e-6
        t3 = at_s + out + 20e-6 / (1 + self.drift) + back
        return np.column_stack([at_s * 1e3, arrive, leave, t3 * 1e3])


def session(seconds: float) -> Floats:
    """When the worker asks: a burst of 20, then once a second."""
    return np.r_[5.0 + np.arange(20) * 0.01, np.arange(6.0, 5.0 + seconds)]


@pytest.mark.parametrize("load", [0.0, 0.4], ids=["idle", "painting"])
@pytest.mark.parametrize("drift", [-80.0, 0.0, 40.0])
def test_the_fit_finds_a_drifting_clock_to_a_quarter_of_a_millisecond(drift: float, load: float) -> None:
    rng = np.random.default_rng(3)
    truth = Clocks(drift)
    at = session(300)
    fit = clocks.fit(truth.exchanges(at, rng, load))
    times = np.linspace(5.0, 305.0, 3001)
    error = np.abs(fit.to_lsl(times * 1e3) - truth.lsl(times))
    assert np.quantile(error, 0.95) < 0.25e-3
    assert fit.drift_ppm == pytest.approx(drift, abs=3.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_stated_bound_holds_the_error_of_the_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Clocks(rng.uniform(-60, 60))
    at = session(rng.uniform(20, 400))
    fit = clocks.fit(truth.exchanges(at, rng, load=0.5))
    times = np.linspace(at[0], at[-1], 2000)
    assert np.abs(fit.to_lsl(times * 1e3) - truth.lsl(times)).max() <= fit.bound_s
    assert fit.bound_s < 2e-3


def test_a_slowly_changing_drift_is_followed_by_the_knots() -> None:
    rng = np.random.default_rng(0)
    at = session(600)
    wander = 20e-6 * 200 * np.sin(at / 200)  # the rate swings by ±20 ppm, as a warming quartz's does
    rows = Clocks(0.0).exchanges(at, rng)
    rows[:, 1:3] += wander[:, None]
    fit = clocks.fit(rows)
    error = fit.to_lsl(at * 1e3) - (Clocks(0.0).lsl(at) + wander)
    assert np.abs(error).max() < 0.3e-3


def test_a_suspended_computer_breaks_the_fit_and_neither_side_bends() -> None:
    rng = np.random.default_rng(1)
    before, after = Clocks(30), Clocks(30, 91_234.567 + 1800)
    rows = np.r_[before.exchanges(session(60), rng), after.exchanges(70 + np.arange(60.0), rng)]
    fit = clocks.fit(rows)
    assert len(fit.pieces) == 2
    assert fit.to_lsl(30e3) == pytest.approx(before.lsl(np.array(30.0)), abs=3e-4)
    assert fit.to_lsl(100e3) == pytest.approx(after.lsl(np.array(100.0)), abs=3e-4)
    assert fit.bound_s < 2e-3


def test_the_way_back_undoes_the_way_there() -> None:
    rng = np.random.default_rng(2)
    rows = np.r_[
        Clocks(55).exchanges(session(200), rng), Clocks(55, 91_234.567 + 60).exchanges(210 + np.arange(99.0), rng)
    ]
    fit = clocks.fit(rows)
    browser = np.linspace(0, 320e3, 999)
    np.testing.assert_allclose(fit.to_browser(fit.to_lsl(browser)), browser, atol=1e-4)


def test_one_exchange_gives_a_constant_offset_with_half_its_round_trip_as_bound() -> None:
    fit = clocks.fit([[1000.0, 50.0, 50.0, 1002.345]])
    assert fit.to_lsl(1001.1725) == pytest.approx(50.0)
    assert fit.to_lsl(2001.1725) == pytest.approx(51.0)
    assert fit.bound_s == pytest.approx(0.0011725 + 10e-6)


@pytest.mark.parametrize(("step_ms", "allowed_s"), [(0.1, 0.2e-3), (1.0, 2e-3)], ids=["not isolated", "coarse"])
def test_a_coarse_browser_clock_widens_the_bound_by_its_steps(step_ms: float, allowed_s: float) -> None:
    rng = np.random.default_rng(4)
    truth = Clocks(20)
    at = session(60)
    fine = truth.exchanges(at, rng)
    coarse = fine.copy()
    coarse[:, [0, 3]] = np.floor(fine[:, [0, 3]] / step_ms) * step_ms
    fit = clocks.fit(coarse)
    assert fit.bound_s >= allowed_s
    assert fit.bound_s <= clocks.fit(fine).bound_s + 2 * allowed_s
    assert np.abs(fit.to_lsl(at * 1e3) - truth.lsl(at)).max() <= fit.bound_s


@given(
    seed=st.integers(0, 2**32 - 1),
    drift=st.floats(-100, 100),
    wander_ppm=st.floats(0, 2),
    load=st.floats(0, 0.9),
    seconds=st.floats(1, 200),
    jump_s=st.sampled_from([0.0, 0.0, 0.004, -0.02, 3600.0]),
)
def test_the_stated_bound_holds_at_every_exchange_whatever_the_load_and_the_jump(
    seed: int, drift: float, wander_ppm: float, load: float, seconds: float, jump_s: float
) -> None:
    rng = np.random.default_rng(seed)
    truth = Clocks(drift)
    at = session(seconds)
    rows = truth.exchanges(at, rng, load)
    # Suspended in the middle: 30 s that only one of the clocks counted, all or in part.
    after = np.arange(len(at)) >= len(at) // 2
    rows[after] += np.array([30e3, 30 + jump_s, 30 + jump_s, 30e3])
    middle = (rows[:, 0] + rows[:, 3]) / 2e3
    swing = wander_ppm * 1e-6 * 60 * np.sin(middle / 60)
    rows[:, 1:3] += swing[:, None]
    fit = clocks.fit(rows)
    true = truth.lsl(middle - 30.0 * after) + (30.0 + jump_s) * after + swing
    assert np.abs(fit.to_lsl(middle * 1e3) - true).max() <= fit.bound_s


def test_a_jump_is_found_though_the_first_exchanges_after_it_are_slow() -> None:
    rng = np.random.default_rng(6)
    rows = Clocks(0).exchanges(np.arange(5.0, 65.0), rng)
    rows[30:] += np.array([20e3, 20.015, 20.015, 20e3])  # 20 s of silence, and the clocks part by 15 ms
    rows[30:33, 3] += 40.0  # woken, the browser hears late
    fit = clocks.fit(rows)
    assert [round(piece.first_s) for piece in fit.pieces] == [5, 55]
    assert fit.to_lsl(30e3) == pytest.approx(Clocks(0).lsl(np.array(30.0)), abs=3e-4)
    assert fit.to_lsl(70e3) == pytest.approx(Clocks(0).lsl(np.array(70.0)) + 0.015, abs=3e-4)
    assert fit.bound_s < 1e-3


def test_impossible_exchanges_are_left_out() -> None:
    good = Clocks(0).exchanges(session(10), np.random.default_rng(0))
    bad = np.array([[np.nan, 1, 1, 2], [5000.0, 91_239.6, 91_239.5, 5001.0], [6000.0, 91_240.0, 91_240.0, 5000.0]])
    assert clocks.fit(np.r_[good, bad]).exchanges == len(good)


def test_no_exchange_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="no usable clock exchange"):
        clocks.fit(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="rows of four times"):
        clocks.fit(np.zeros((3, 3)))


def test_a_trackers_drifting_clock_is_followed_by_its_surest_measurements() -> None:
    rng = np.random.default_rng(8)
    at = 1000 + np.arange(0, 300, 5.0)
    truth = -2.5 + 50e-6 * (at - 1000)
    # A measurement errs by no more than it says; most of them are taken while the machine is busy.
    uncertainty = np.where(np.arange(len(at)) % 3 == 1, 1e-4, 5e-3)
    measured = np.column_stack([at, truth + rng.uniform(-1, 1, len(at)) * uncertainty / 2, uncertainty, at - truth])
    measured[7] = np.nan
    t = at - truth
    offset, bound = clocks.tracker_offset(t, measured)
    assert np.abs(offset - truth)[:-1].max() < 2e-4
    assert bound == pytest.approx(1e-4)


def test_a_tracker_whose_clock_was_never_measured_keeps_its_times() -> None:
    offset, bound = clocks.tracker_offset([1.0, 2.0], np.zeros((0, 4)))
    assert offset.tolist() == [0.0, 0.0] and bound is None
