"""Adjusted p-values: as statsmodels has them, and with a stated place for tests that could not be made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
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


def draws(seed: int = 0, times: int = 200) -> list[list[float]]:
    """Families of 1 to 12 p-values, with ties, zeros and ones among them."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.random(rng.integers(1, 13)) ** 3, int(rng.integers(1, 9))).tolist() for _ in range(times)]


@pytest.mark.parametrize(("adjust", "peer"), PEERS.items(), ids=PEERS.values())
def test_adjusted_p_values_agree_with_statsmodels(adjust: Callable, peer: str) -> None:
    for values in draws(times=12):  # statsmodels' Holm collects garbage at every call
        assert adjust(values) == pytest.approx(multipletests(values, method=peer)[1], abs=1e-12)


@pytest.mark.parametrize("adjust", ADJUSTMENTS.values(), ids=ADJUSTMENTS)
def test_a_test_that_could_not_be_made_stays_in_the_family_as_if_its_p_were_one(adjust: Callable) -> None:
    for number, values in enumerate(draws(1)):
        place = number % (len(values) + 1)
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


def test_gatekeeping_never_makes_a_test_easier_than_its_family_alone() -> None:
    for families in zip(draws(2), draws(3), draws(4), strict=True):
        for family, found in zip(families, gatekeeping(families), strict=True):
            assert all(gated >= alone for gated, alone in zip(found, holm(family), strict=True))
