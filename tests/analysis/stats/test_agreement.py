"""Agreement: published examples to their printed digits, definitions by brute force, and what cannot be estimated."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as peer_fleiss

from analysis.stats.agreement import (
    LEVELS,
    bland_altman,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac,
    icc,
    krippendorff_alpha,
    weight_matrix,
)

#: Six targets, four judges (Shrout & Fleiss 1979, table 2).
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
#: Twelve units, four coders, with missing data (Krippendorff 2013, ch. 12; Gwet 2014 uses the same).
KRIPPENDORFF = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, None, 3, None],
]
#: Ten subjects, fourteen raters, five categories: how many raters chose each (the worked example of Fleiss' kappa).
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
#: Two abstractors, 100 pregnancies: ectopic, abnormal and normal intrauterine (Gwet 2014).
ABSTRACTORS = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]


def listed(table: list[list[int]]) -> list[tuple[int, int]]:
    return [(a, b) for a, row in enumerate(table) for b, times in enumerate(row) for _ in range(times)]


@pytest.mark.parametrize(
    ("form", "estimate", "f", "p", "lower", "upper"),
    [
        ("(1,1)", 0.17, 1.79, 0.16477, -0.133, 0.72),
        ("(2,1)", 0.29, 11.03, 0.00013, 0.019, 0.76),
        ("(3,1)", 0.71, 11.03, 0.00013, 0.342, 0.95),
        ("(1,k)", 0.44, 1.79, 0.16477, -0.884, 0.91),
        ("(2,k)", 0.62, 11.03, 0.00013, 0.071, 0.93),
        ("(3,k)", 0.91, 11.03, 0.00013, 0.676, 0.99),
    ],
)
def test_the_six_forms_are_shrout_and_fleiss_own(
    form: str, estimate: float, f: float, p: float, lower: float, upper: float
) -> None:
    found = icc(SHROUT_FLEISS)[form]
    assert found.estimate == pytest.approx(estimate, abs=0.005)
    assert (found.f, found.p) == (pytest.approx(f, abs=0.005), pytest.approx(p, abs=0.00001))
    assert (found.lower, found.upper) == (pytest.approx(lower, abs=0.0006), pytest.approx(upper, abs=0.006))


def test_consistency_ignores_a_rater_who_is_always_higher_and_absolute_agreement_does_not() -> None:
    scores = np.array(SHROUT_FLEISS, dtype=float)
    shifted, before = icc(scores + np.array([0, 0, 0, 5])), icc(scores)
    for form in ("(3,1)", "(3,k)"):
        assert shifted[form].estimate == pytest.approx(before[form].estimate)
    assert shifted["(2,1)"].estimate != pytest.approx(before["(2,1)"].estimate)
    for form, found in icc(3 * scores - 40).items():
        assert (found.estimate, found.lower) == pytest.approx((before[form].estimate, before[form].lower))


def test_the_interval_of_absolute_agreement_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    true, covered = 1.0 / (1.0 + 0.25 + 0.5), 0
    for _ in range(400):
        scores = rng.normal(0, 1, (25, 1)) + rng.normal(0, 0.5, (1, 5)) + rng.normal(0, 0.5**0.5, (25, 5))
        found = icc(scores)["(2,1)"]
        covered += found.lower < true < found.upper
    assert 0.91 < covered / 400 < 0.98


def test_an_icc_without_variation_or_with_holes_says_so() -> None:
    for found in icc(np.ones((4, 3))).values():
        assert found.estimate is None and "no variation within units" in found.not_estimable
        found.to_dict()
    for found in icc(np.tile([1.0, 2.0, 4.0], (4, 1))).values():  # raters differ, units do not
        assert found.estimate is None or np.isfinite(found.estimate)
        found.to_dict()
    with pytest.raises(ValueError, match=r"Unit 2 has no finite score of rater 1"):
        icc([[1, 2], [np.nan, 3]])
    with pytest.raises(ValueError, match="needs two units and two raters"):
        icc([[1, 2, 3]])


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_alpha_is_krippendorffs_own_example(level: Any, published: float) -> None:
    found = krippendorff_alpha(KRIPPENDORFF, level=level)
    assert found.estimate == pytest.approx(published, abs=0.0005)
    assert (found.units, found.raters) == (11, 4)
    assert found.lower < found.estimate <= found.upper


def distance(level: str, c: int, k: int, used: dict[int, int]) -> float:
    if level == "nominal":
        return float(c != k)
    if level == "ordinal":
        between = sum(used[g] for g in used if min(c, k) <= g <= max(c, k))
        return (between - (used[c] + used[k]) / 2) ** 2
    if level == "interval":
        return float((c - k) ** 2)
    return ((c - k) / (c + k)) ** 2 if c + k else 0.0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_the_definition_pair_by_pair(level: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 5, (9, 4)).astype(object)
    table[rng.random(table.shape) < 0.25] = None
    units = [[v for v in row if v is not None] for row in table.tolist()]
    units = [unit for unit in units if len(unit) > 1]
    pool = [v for unit in units for v in unit]
    used = {value: pool.count(value) for value in set(pool)}
    seen = sum(
        distance(level, a, b, used) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)
    ) / len(pool)
    chance = sum(distance(level, a, b, used) for a, b in itertools.permutations(pool, 2)) / len(pool) / (len(pool) - 1)
    assert krippendorff_alpha(table, level=level, resamples=0).estimate == pytest.approx(1 - seen / chance)


def test_the_bootstrap_of_alpha_is_seeded_and_weights_whole_units() -> None:
    first, again = (krippendorff_alpha(KRIPPENDORFF, level="ordinal", seed=3, resamples=200) for _ in range(2))
    assert first == again
    other = krippendorff_alpha(KRIPPENDORFF, level="ordinal", seed=4, resamples=200)
    assert other.estimate == first.estimate and other.lower != first.lower


def test_fleiss_kappa_is_the_worked_example_and_statsmodels() -> None:
    ratings = [[c for c, times in enumerate(row) for _ in range(times)] for row in FLEISS]
    found = fleiss_kappa(ratings)
    assert found.estimate == pytest.approx(0.210, abs=0.0005)
    assert found.estimate == pytest.approx(peer_fleiss(np.array(FLEISS)))


@pytest.mark.parametrize(
    ("function", "estimate", "se", "lower"),
    [(gwet_ac, 0.77544, 0.14295, 0.461), (fleiss_kappa, 0.76117, 0.15302, 0.424)],
    ids=["AC1", "Fleiss"],
)
def test_missing_ratings_and_standard_errors_follow_gwet(
    function: Any, estimate: float, se: float, lower: float
) -> None:
    """The figures that Gwet's package prints for this table."""
    found = function(KRIPPENDORFF)
    assert (found.estimate, found.se) == (pytest.approx(estimate, abs=5e-6), pytest.approx(se, abs=5e-6))
    assert (found.lower, found.upper) == (pytest.approx(lower, abs=0.0005), 1.0)
    assert (found.units, found.raters) == (12, 4)


def test_quadratic_ac2_of_the_same_table() -> None:
    assert gwet_ac(KRIPPENDORFF, weights="quadratic").estimate == pytest.approx(0.914, abs=0.0005)


def test_two_raters_with_one_table_agree_with_the_published_coefficients() -> None:
    pairs = listed(ABSTRACTORS)
    first, second = zip(*pairs, strict=True)
    kappa = cohen_kappa(first, second)
    assert (kappa.estimate, kappa.se) == (pytest.approx(0.7964094, abs=5e-8), pytest.approx(0.05891072, abs=5e-9))
    assert gwet_ac(pairs).estimate == pytest.approx(0.8493305, abs=5e-8)
    assert krippendorff_alpha(pairs, resamples=0).estimate == pytest.approx(0.7972585, abs=5e-8)


@pytest.mark.parametrize("weights", ["identity", "linear", "quadratic"])
@pytest.mark.parametrize("seed", range(3))
def test_weighted_kappa_agrees_with_statsmodels(weights: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, 60)
    second = np.clip(first + rng.integers(-1, 2, 60), 0, 3)
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    peer = cohens_kappa(table, wt=None if weights == "identity" else weights)
    found = cohen_kappa(first.tolist(), second.tolist(), weights=weights, categories=range(4))
    assert found.estimate == pytest.approx(peer.kappa)
    assert found.se == pytest.approx(peer.std_kappa)


def test_the_standard_error_over_units_is_close_to_the_jackknifes() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, 150)
    table = np.where(rng.random((150, 3)) < 0.7, truth[:, None], rng.integers(0, 3, (150, 3))).astype(object)
    table[rng.random(table.shape) < 0.1] = None
    for function in (gwet_ac, fleiss_kappa):
        left = [function(np.delete(table, k, axis=0), categories=range(3)).estimate for k in range(150)]
        jackknife = np.sqrt(149 / 150 * ((left - np.mean(left)) ** 2).sum())
        assert function(table, categories=range(3)).se == pytest.approx(jackknife, rel=0.03)


def test_names_and_the_order_of_units_and_raters_do_not_matter() -> None:
    words = {1: "none", 2: "mild", 3: "moderate", 4: "severe", 5: "critical", None: None}
    table = np.array([[words[v] for v in row] for row in KRIPPENDORFF], dtype=object)
    turned = table[::-1, ::-1]
    for function in (gwet_ac, fleiss_kappa):
        assert function(turned).estimate == pytest.approx(function(KRIPPENDORFF).estimate)
    ordered = krippendorff_alpha(turned, level="ordinal", categories=list(words.values())[:5], resamples=0)
    assert ordered.estimate == pytest.approx(0.815, abs=0.0005)


def test_weights_go_by_values_where_categories_are_numbers() -> None:
    assert weight_matrix("linear", [0, 1, 4])[0] == pytest.approx([1, 0.75, 0])
    assert weight_matrix("linear", ["a", "b", "c"])[0] == pytest.approx([1, 0.5, 0])
    assert weight_matrix("ordinal", [1, 2, 3])[0] == pytest.approx([1, 2 / 3, 0])
    assert weight_matrix(np.eye(2), "ab") == pytest.approx(np.eye(2))
    with pytest.raises(ValueError, match="symmetric 2 × 2 matrix"):
        weight_matrix([[1, 0.5], [0.2, 1]], "ab")
    with pytest.raises(ValueError, match="weights is 'cubic'"):
        weight_matrix("cubic", "ab")


@pytest.mark.parametrize("function", [gwet_ac, fleiss_kappa, krippendorff_alpha], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ([[1, 1], [1, 1]], "every rating is the same category"),
        ([[1, None], [None, 2]], "no unit has two ratings"),
        ([], "no unit has two ratings"),
        ([[1, 2]], "there is one unit"),
        ([[None, None], [None, None]], "no unit has two ratings"),
    ],
    ids=["constant", "single", "empty", "one unit", "nothing"],
)
def test_agreement_that_cannot_be_estimated_says_why(function: Any, ratings: Any, reason: str) -> None:
    found = function(ratings)
    assert reason in found.not_estimable and found.lower is None
    found.to_dict()


def test_perfect_agreement_is_one_without_an_interval_by_formula() -> None:
    table = [[1, 1], [2, 2], [3, 3]]
    for function in (gwet_ac, fleiss_kappa):
        found = function(table)
        assert found.estimate == pytest.approx(1) and "do not vary" in found.not_estimable
    kappa = cohen_kappa([1, 2, 3, None], [1, 2, 3, 3])
    assert kappa.estimate == pytest.approx(1) and kappa.units == 3
    assert cohen_kappa([1], [None]).not_estimable.endswith("rated by both")


def test_faulty_ratings_are_refused_with_the_unit() -> None:
    with pytest.raises(ValueError, match="Unit 2 has 1 ratings where the first has 2"):
        gwet_ac([[1, 2], [1]])
    with pytest.raises(ValueError, match="Unit 1 is rated 7, which is not among the categories"):
        fleiss_kappa([[7, 1]], categories=[1, 2])
    with pytest.raises(ValueError, match="needs ratings that are numbers"):
        krippendorff_alpha([["a", "b"]], level="interval")
    with pytest.raises(ValueError, match="ratings of 0 or more"):
        krippendorff_alpha([[-1, 2]], level="ratio")
    with pytest.raises(ValueError, match="level is 'cardinal'"):
        krippendorff_alpha([[1, 2]], level="cardinal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="first rater has 1 ratings and the second 2"):
        cohen_kappa([1], [1, 2])


def test_limits_of_agreement_hold_the_differences_they_say() -> None:
    rng = np.random.default_rng(6)
    first = rng.normal(50, 5, 400)
    found = bland_altman(first, first + 2 + rng.normal(0, 1.5, 400))
    assert found.bias_ci[0] < -2 < found.bias_ci[1]
    assert found.lower_ci[0] < -2 - 1.959964 * 1.5 < found.lower_ci[1]
    assert found.upper_ci[0] < -2 + 1.959964 * 1.5 < found.upper_ci[1]
    assert found.upper - found.bias == pytest.approx(1.959964 * found.sd, rel=1e-6)
    with pytest.raises(ValueError, match="Unit 2 lacks a finite measurement"):
        bland_altman([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="two equally long lists"):
        bland_altman([1], [1])


@pytest.mark.parametrize("seed", range(40))
def test_few_units_give_a_number_or_a_reason_and_never_nan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (rng.integers(2, 6), rng.integers(2, 5))).astype(float)
    for found in icc(scores).values():
        found.to_dict()
        assert found.not_estimable or found.lower <= found.estimate <= found.upper
