"""The laws of intervals and tests against those of scipy.stats."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.laws import f_above, t_above, t_critical, t_two_sided

DF = st.floats(1, 1e4) | st.just(math.inf)


def student(df: float):  # type: ignore[no-untyped-def]
    return stats.norm if math.isinf(df) else stats.t(df)


@given(st.floats(-30, 30), DF)
def test_students_tails_are_scipys(t: float, df: float) -> None:
    assert t_above(t, df) == pytest.approx(float(student(df).sf(t)), rel=1e-9, abs=1e-300)
    assert t_two_sided(t, df) == pytest.approx(float(2 * student(df).sf(abs(t))), rel=1e-9, abs=1e-300)


@given(st.floats(1e-6, 0.999), DF)
def test_critical_values_are_scipys_and_undo_the_tails(alpha: float, df: float) -> None:
    assert t_critical(alpha, df) == pytest.approx(float(student(df).ppf(1 - alpha / 2)), rel=1e-7, abs=1e-12)
    assert t_two_sided(t_critical(alpha, df), df) == pytest.approx(alpha, rel=1e-9)


@given(st.floats(0, 500), st.integers(1, 12), DF)
def test_the_tail_of_f_is_scipys_and_becomes_that_of_chi_square(f: float, df1: int, df2: float) -> None:
    wanted = stats.chi2.sf(f * df1, df1) if math.isinf(df2) else stats.f.sf(f, df1, df2)
    assert f_above(f, df1, df2) == pytest.approx(float(wanted), rel=1e-9, abs=1e-300)


def test_comparing_treatments_needs_no_import_of_scipy_stats() -> None:
    """Half of what a command takes would go to it."""
    lines = "import sys, analysis.stats, analysis.stats.commands.mrmc; print('scipy.stats' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
