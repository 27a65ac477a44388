"""Adjusted p-values: as statsmodels has them, and with a stated place for tests that could not be made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from analysis.stats.multiplicity import (
    ADJUSTMENTS,
    benjamini_hochberg,
    bonferroni,
    fixed_sequence,
    gatekeeping,
    hochberg,
    holm,
)

PEERS = {
    bonferroni: "bonferroni",
    holm: "holm",
    hochberg: "simes-hochberg",
    benjamini_hochberg: "fdr_bh",
}
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize(("adjust", "peer"), PEERS.items(), ids=PEERS.values())
@given(values=p_values)
def test_adjusted_p_values_agree_with_statsmodels(adjust: Callable, peer: str, values: list[float]) -> None:
    assert adjust(values) == pytest.approx(multipletests(values, method=peer)[1], abs=1e-12)


@pytest.mark.parametrize("adjust", ADJUSTMENTS.values(), ids=ADJUSTMENTS)
@given(values=p_values, absent=st.integers(0, 12))
def test_a_test_that_could_not_be_made_stays_in_the_family_as_if_its_p_were_one(
    adjust: Callable, values: list[float], absent: int
) -> None:
    place = min(absent, len(values))
    with_none = [*values[:place], None, *values[place:]]
    with_one = [*values[:place], 1.0, *values[place:]]
    expected = adjust(with_one)
    expected[place] = None
    assert adjust(with_none) == expected


@pytest.mark.parametrize("adjust", ADJUSTMENTS.values(), ids=ADJUSTMENTS)
def test_nothing_to_adjust_is_no_error(adjust: Callable) -> None:
    assert adjust([]) == [] and adjust([0.03]) == [0.03] and adjust([None]) == [None]


@pytest.mark.parametrize("adjust", ADJUSTMENTS.values(), ids=ADJUSTMENTS)
def test_what_is_no_probability_is_refused(adjust: Callable) -> None:
    with pytest.raises(ValueError, match=r"p-value 2 is 1.2; it must be between 0 and 1"):
        adjust([0.1, 1.2])
    with pytest.raises(ValueError, match="p-value 1 is nan"):
        adjust([float("nan")])


def test_a_fixed_sequence_stops_at_the_first_test_that_fails() -> None:
    assert fixed_sequence([0.01, 0.2, 0.001]) == [0.01, 0.2, 0.2]
    assert fixed_sequence([0.01, None, 0.001]) == [0.01, None, 1.0]


def test_a_family_behind_a_gate_counts_only_once_the_families_before_it_are_rejected() -> None:
    first, second, third = gatekeeping([[0.01, 0.02], [0.001, 0.03], [0.0001]])
    assert first == [0.02, 0.02]
    assert second == [0.02, 0.03]
    assert third == [0.03]
    assert gatekeeping([[0.2], [0.001]])[1] == [0.2]
    assert gatekeeping([[None], [0.001]]) == [[None], [1.0]]


@given(families=st.lists(p_values, min_size=1, max_size=3))
def test_gatekeeping_never_makes_a_test_easier_than_its_family_alone(families: list[list[float]]) -> None:
    for family, found in zip(families, gatekeeping(families), strict=True):
        assert all(gated >= alone for gated, alone in zip(found, holm(family), strict=True))
