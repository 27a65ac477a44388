"""The U-statistic analysis against its definition, against iMRMC, and where nothing can be estimated."""

from __future__ import annotations

import math
import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.components import components, unbiased_covariance
from analysis.stats.obuchowski_rockette import analyse as obuchowski_rockette
from analysis.stats.ratings import Ratings, read_ratings
from analysis.stats.ustatistics import Analysis, analyse, analyse_values, law_df
from tests.analysis.golden import golden, ratings
from tests.analysis.simulated import roe_metz
from tests.reference import needs_reference


def table(scores: np.ndarray, diseased: int) -> Ratings:
    """``scores`` [I, J, n], the first ``diseased`` cases diseased."""
    treatments, readers, n = scores.shape
    return Ratings(
        tuple(f"R{j + 1}" for j in range(readers)),
        tuple("ABCD"[:treatments]),
        tuple(str(k) for k in range(n)),
        np.arange(n) < diseased,
        scores,
    )


def incomplete(seed: int, *, treatments: int = 2, readers: int = 3, n1: int = 4, n0: int = 3) -> Ratings:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (treatments, readers, n1 + n0)).astype(float)
    scores[rng.random(scores.shape) < rng.choice([0.0, 0.2, 0.5])] = np.nan
    scores[scores == 0] = rng.choice([0.0, -np.inf])
    return table(scores, n1)


def triples(made: Ratings, i: int) -> dict[tuple[int, int, int], float]:
    """ψ of every rated triple of treatment i, by (reader, diseased, non-diseased)."""
    scores = made.scores[i]
    return {
        (j, x, y): float(scores[j, x] > scores[j, y]) + 0.5 * float(scores[j, x] == scores[j, y])
        for j in range(len(made.readers))
        for x in np.flatnonzero(made.truth)
        for y in np.flatnonzero(~made.truth)
        if not np.isnan(scores[j, x]) and not np.isnan(scores[j, y])
    }


#: (same reader, same diseased, same non-diseased) of M1 … M8.
SHARED = [(r, *case) for r in (True, False) for case in ((True, True), (True, False), (False, True), (False, False))]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_moments_are_averages_over_pairs_of_triples_that_share_exactly_what_they_name(seed: int) -> None:
    made = incomplete(seed)
    found = analyse(made)
    for i, k in ((0, 0), (0, 1), (1, 1)):
        one, other = triples(made, i), triples(made, k)
        if not one or not other:
            assert (i, k) not in found.moments
            continue
        exact: dict[tuple[bool, ...], list[float]] = {shared: [] for shared in SHARED}
        for (a, psi), (b, chi) in product(one.items(), other.items()):
            exact[tuple(u == v for u, v in zip(a, b, strict=True))].append(psi * chi)
        moments = found.moments[i, k]
        for shared, moment, weight in zip(SHARED, moments.unbiased, moments.coefficients, strict=True):
            products = exact[shared]
            assert moment == (None if not products else pytest.approx(np.mean(products), abs=1e-12))
            share = len(products) / (len(one) * len(other))
            assert weight == pytest.approx(share - (shared == (False, False, False)), abs=1e-12)
        for shared, moment in zip(SHARED, moments.biased, strict=True):
            wide = [
                value
                for key, values in exact.items()
                if all(have or not need for have, need in zip(key, shared, strict=True))
                for value in values
            ]
            assert moment == (None if not wide else pytest.approx(np.mean(wide), abs=1e-12))
        means = np.mean(list(one.values())), np.mean(list(other.values()))
        apart = exact[False, False, False]
        if apart:
            assert found.covariances[i, k] == pytest.approx(means[0] * means[1] - np.mean(apart), abs=1e-12)
        else:
            assert found.covariances[i, k] is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_covariance_is_the_weighted_sum_of_the_moments(seed: int) -> None:
    found = analyse(incomplete(seed, readers=4))
    for pair, moments in found.moments.items():
        if found.covariances[pair] is not None:
            total = sum(c * m for c, m in zip(moments.coefficients, moments.unbiased, strict=True) if m is not None)
            assert found.covariances[pair] == pytest.approx(total, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_readers_own_variance_is_the_unbiased_one_over_the_cases_rated(seed: int) -> None:
    made = incomplete(seed, treatments=1, readers=2, n1=5, n0=5)
    found = analyse(made)
    for j in range(2):
        scores = made.scores[0, j]
        rated = ~np.isnan(scores)
        high, low = scores[None, rated & made.truth], scores[None, rated & ~made.truth]
        cell = found.cells[0][j]
        if not high.size or not low.size:
            assert cell.estimate is None and cell.not_estimable.startswith("not estimable, because reader R")
            continue
        parts = components(high, low)
        assert cell.estimate == pytest.approx(parts.auc[0])
        if min(high.size, low.size) > 1:
            variance = unbiased_covariance(parts, high, low)[0, 0]
            if variance > 1e-12:
                assert cell.se == pytest.approx(math.sqrt(variance))
            else:
                assert cell.se is None and "zero or negative" in cell.not_estimable


def test_a_fully_crossed_study_has_the_standard_error_and_df_of_obuchowski_rockette() -> None:
    made = read_ratings(roe_metz(3, readers=6, treatments=("A", "B", "C"), n0=25, n1=30))
    found = analyse(made)
    assert found.fully_crossed
    positives, negatives = made.positives.reshape(18, 30), made.negatives.reshape(18, 25)
    parts = components(positives, negatives)
    covariance = unbiased_covariance(parts, positives, negatives).reshape(3, 6, 3, 6)
    np.testing.assert_allclose(found.foms, parts.auc.reshape(3, 6))
    parts_of_all = obuchowski_rockette(found.foms, covariance.reshape(18, 18)).components
    assert vars(found.components) == pytest.approx(vars(parts_of_all))
    for i, k in ((0, 1), (0, 2), (1, 2)):
        two = np.array([i, k])
        expected = obuchowski_rockette(
            found.foms[two], covariance[np.ix_(two, range(6), two, range(6))].reshape(12, 12)
        ).differences[0, 1]
        assert found.pairs[i, k].df_hillis == pytest.approx(expected.df)
        assert found.reader_differences[i, k][2].se == pytest.approx(
            math.sqrt(covariance[i, 2, i, 2] + covariance[k, 2, k, 2] - 2 * covariance[i, 2, k, 2])
        )
    for i in range(3):
        mean = obuchowski_rockette(found.foms[i : i + 1], covariance[i, :, i, :]).means[0]
        assert found.single[i].df_hillis == pytest.approx(mean.df)
        assert found.single[i].estimate == pytest.approx(mean.estimate)


@needs_reference
@pytest.mark.parametrize("name", ["VanDyke", "split_plot2blocks"])
def test_every_number_of_imrmcs_r_package_is_met(name: str) -> None:
    found = analyse(read_ratings(ratings(name)))
    for row in golden("ustat")["R_2_1_2"][name if name.startswith("split") else f"mrmcaov_{name}"]:
        i, k = (int(row[f"modalityID.{side}"][1:]) - 1 for side in (1, 2))
        ours = found.single[i] if i == k else found.pairs[i, k]
        assert found.covariances[i, k] == pytest.approx(row["covAUC"], rel=1e-9)
        for m, value in enumerate(found.moments[i, k].unbiased, start=1):
            assert value == pytest.approx(row[f"M{m}"], rel=1e-9)
        if i == k:
            expected = (row["AUC.1"], row["covAUC"], row["covAUC.biased"], row["dfBDG"])
        else:
            expected = (
                row["AUC1minusAUC2"],
                row["varAUC1minusAUC2"],
                row["varAUC1minusAUC2.biased"],
                row["dfBDG.diff"],
            )
            assert ours.df_bdg_biased == pytest.approx(row["dfBDG.biased.diff"], rel=1e-9)
        assert (ours.estimate, ours.variance, ours.variance_biased, ours.df_bdg) == pytest.approx(expected, rel=1e-9)
        assert ours.normal.p == pytest.approx(row["pValueNormal"], rel=1e-6, abs=1e-13)
        assert (ours.bdg.p, ours.bdg.lower, ours.bdg.upper) == pytest.approx(
            (row["pValueBDG"], row["botCIBDG"], row["topCIBDG"]), rel=1e-6, abs=1e-13
        )


@needs_reference
@pytest.mark.parametrize("name", ["VanDyke", "split_plot2blocks"])
def test_every_number_of_imrmcs_java_program_is_met_to_its_nine_digits(name: str) -> None:
    found = analyse(read_ratings(ratings(name)), df="java")
    for row in golden("ustat")["java_4_0_3"][name]:
        i = int(row["modalityA"][1:]) - 1
        lone = row["modalityB"] == "NO_MOD"
        ours = found.single[i] if lone else found.pairs[i, int(row["modalityB"][1:]) - 1]
        estimate, variance = ("AUCA", "varAUCA") if lone else ("AUCAminusAUCB", "varAUCAminusAUCB")
        pairs = [(ours.estimate, estimate), (ours.variance, variance), (ours.df_bdg, "dfBDG")]
        for interval, law in ((ours.normal, "normal"), (ours.bdg, "BDG"), (ours.hillis, "Hillis")):
            test = {"normal": "pValueNormal"}.get(law, f"pValue{law}")
            pairs += [(interval.p, test), (interval.lower, f"botCI{law}"), (interval.upper, f"topCI{law}")]
        pairs.append((ours.df_hillis, "dfHillis"))
        for value, key in pairs:
            if row[key] is None:
                assert value is None
            else:
                assert value == pytest.approx(row[key], rel=6e-9, abs=1e-13), key


@needs_reference
def test_a_negative_variance_is_not_estimable_and_says_so() -> None:
    found = analyse(read_ratings(ratings("Franken")))
    difference = found.differences[0, 1]
    assert difference.estimate == pytest.approx(0.01085482, rel=1e-6)
    assert difference.p is None and difference.se is None
    assert difference.not_estimable.startswith(
        "not estimable, because the unbiased variance of the difference is -3.16e-05, negative"
    )
    assert found.means[0].se is not None
    assert found.pairs[0, 1].variance < 0 < found.pairs[0, 1].variance_biased


def nested(seed: int = 1) -> Ratings:
    """Readers 1–3 read under A, readers 4–6 under B; the same cases."""
    made = read_ratings(roe_metz(seed, readers=6, n0=25, n1=25))
    made.scores[0, 3:] = np.nan
    made.scores[1, :3] = np.nan
    return made


def test_readers_in_one_arm_only_have_their_df_by_the_named_program() -> None:
    one, two = analyse(nested(), df="r"), analyse(nested(), df="java")
    assert one.pairs[0, 1].variance == two.pairs[0, 1].variance
    # Two independent mean squares have more degrees of freedom than one of their sum on the smaller df.
    assert two.pairs[0, 1].df_bdg > one.pairs[0, 1].df_bdg
    assert one.pairs[0, 1].df_hillis is None
    assert any("R package" in line and "one mean square" in line for line in one.conventions)
    assert any("two mean squares" in line for line in two.conventions)
    biased = [one.moments[i, i].biased for i in (0, 1)]
    readers = [(m[3] - m[7]) ** 2 / 2**3 for m in biased]
    others = one.moments[0, 1].biased
    cases = [(sum(m[c] - m[7] for m in biased) - 2 * (others[c] - others[7])) ** 2 / 24**3 for c in (5, 6)]
    variance = two.pairs[0, 1].variance
    assert two.pairs[0, 1].df_bdg == pytest.approx(variance**2 / (sum(readers) + sum(cases)))
    together = sum(m[3] - m[7] for m in biased) ** 2 / 2**3
    assert one.pairs[0, 1].df_bdg == pytest.approx(variance**2 / (together + sum(cases)))


def test_cases_read_in_one_arm_only_add_no_covariance_through_the_cases() -> None:
    made = read_ratings(roe_metz(5, readers=4, n0=40, n1=40))
    split = np.arange(80) % 2 == 0
    made.scores[0][:, split] = np.nan
    made.scores[1][:, ~split] = np.nan
    found = analyse(made)
    assert found.moments[0, 1].coefficients[:3] == (0, 0, 0)
    assert found.moments[0, 1].unbiased[0] is None
    assert found.differences[0, 1].se is not None


def test_rounding_the_df_is_a_choice_that_is_named() -> None:
    made = read_ratings(roe_metz(3, readers=8))
    down, plain = analyse(made), analyse(made, rounding="none")
    df = plain.differences[0, 1].df
    assert df == down.differences[0, 1].df and df != int(df)
    assert down.differences[0, 1].upper > plain.differences[0, 1].upper
    assert any("whole number below" in line for line in down.conventions)
    assert law_df(df) == int(df) and law_df(df, rounding="none") == df
    assert law_df(50.0, "java") == law_df(50.1) == math.inf and law_df(50.0) == 50
    assert any("as it is" in line for line in plain.conventions)


def test_who_rated_more_counts_more_in_the_mean() -> None:
    made = read_ratings(roe_metz(4, readers=3))
    made.scores[0, 0, ::2] = np.nan
    found = analyse(made)
    weights = np.array([10 * 10, 20 * 20, 20 * 20])
    assert found.means[0].estimate == pytest.approx(np.average(found.foms[0], weights=weights))


def everything_is_finite(found: Analysis) -> None:
    intervals = [*found.means, *found.differences.values()]
    intervals += [cell for row in found.cells for cell in row]
    intervals += [change for row in found.reader_differences.values() for change in row]
    for one in (*found.single, *found.pairs.values()):
        intervals += [one.normal, one.bdg, one.hillis]
        for value in (one.estimate, one.variance, one.variance_biased, one.df_bdg, one.df_bdg_biased, one.df_hillis):
            assert value is None or not math.isnan(value)
    for interval in intervals:
        numbers = (interval.estimate, interval.se, interval.df, interval.lower, interval.upper, interval.p)
        assert not any(number is not None and math.isnan(number) for number in numbers)
        assert interval.not_estimable or interval.lower is not None
    for moments in found.moments.values():
        assert not any(m is not None and math.isnan(m) for m in (*moments.unbiased, *moments.coefficients))


@pytest.mark.filterwarnings("error")
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["r", "java"]),
)
def test_no_design_yields_nan_or_silence(seed: int, treatments: int, readers: int, n1: int, n0: int, df: str) -> None:
    everything_is_finite(analyse(incomplete(seed, treatments=treatments, readers=readers, n1=n1, n0=n0), df=df))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s[:, :1], "only reader R1 rated both classes of cases under A: how readers differ cannot be seen"),
        (lambda s: s[:, :, 3:], "under A no two readers rated different cases of each class"),
        (
            lambda s: np.where(np.arange(2)[:, None, None] == 1, np.nan, s),
            "no reader rated both classes of cases under B",
        ),
    ],
    ids=["one reader", "one diseased case", "an empty treatment"],
)
def test_what_the_design_cannot_show_is_said(change, sentence: str) -> None:
    scores = change(np.random.default_rng(0).random((2, 3, 8)))
    found = analyse(table(scores, max(1, scores.shape[2] - 4)))
    assert found.differences[0, 1].not_estimable.startswith("not estimable, because")
    assert sentence in found.differences[0, 1].not_estimable


def test_perfect_and_identical_ratings_have_no_variance_and_it_is_said() -> None:
    perfect = np.broadcast_to(np.arange(10.0)[::-1], (2, 3, 10)).copy()
    found = analyse(table(perfect, 5))
    assert found.means[0].estimate == 1
    assert "variance of the AUC of A is zero" in found.means[0].not_estimable
    same = np.random.default_rng(1).random((1, 4, 20)).repeat(2, axis=0)
    assert "is zero" in analyse(table(same, 10)).differences[0, 1].not_estimable


def test_a_reader_with_one_class_adds_nothing_and_is_named() -> None:
    made = read_ratings(roe_metz(6, readers=4))
    made.scores[1, 2, made.truth] = np.nan
    found = analyse(made)
    assert np.isnan(found.foms[1, 2])
    assert found.cells[1][2].not_estimable == (
        "not estimable, because reader R3 did not rate both classes of cases under B"
    )
    assert found.reader_differences[0, 1][2].not_estimable == found.cells[1][2].not_estimable
    assert found.warnings == ("Without both classes of cases a reader adds nothing to a treatment's AUC: R3 under B.",)
    without = read_ratings(roe_metz(6, readers=4))
    without.scores[1, 2] = np.nan
    assert analyse(without).differences == found.differences


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_readers_and_cases_and_a_monotone_scale_change_nothing(seed: int) -> None:
    made = incomplete(seed, readers=4, n1=6, n0=6)
    rng = np.random.default_rng(seed)
    cases, readers = rng.permutation(12), rng.permutation(4)
    moved = Ratings(
        made.readers, made.treatments, made.cases, made.truth[cases], np.tanh(made.scores[:, readers][:, :, cases])
    )
    first, second = analyse(made).pairs[0, 1], analyse(moved).pairs[0, 1]
    assert first.variance == (None if second.variance is None else pytest.approx(second.variance, abs=1e-12))
    assert first.estimate == (None if second.estimate is None else pytest.approx(second.estimate, abs=1e-12))


def test_work_in_blocks_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = incomplete(8, readers=5, n1=30, n0=41)
    whole = analyse(made)
    monkeypatch.setattr("analysis.stats.ustatistics._PAIRS_AT_ONCE", 100)
    assert analyse(made).moments == whole.moments


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_values_of_one_class_have_four_moments_by_their_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2, (2, 3, 6)).astype(float)
    values[rng.random(values.shape) < 0.3] = np.nan
    found = analyse_values(values, readers="abc", treatments=("A", "B"), quantity="sensitivity")
    for i, k in ((0, 0), (0, 1), (1, 1)):
        one, other = ([(j, c, values[t, j, c]) for j, c in np.argwhere(~np.isnan(values[t]))] for t in (i, k))
        if not one or not other:
            continue
        for place, shared in enumerate(((True, True), (True, False), (False, True), (False, False))):
            products = [a[2] * b[2] for a, b in product(one, other) if (a[0] == b[0], a[1] == b[1]) == shared]
            expected = pytest.approx(np.mean(products), abs=1e-12) if products else None
            assert found.moments[i, k].unbiased[place] == expected
    everything_is_finite(found)


def test_one_class_variance_is_unbiased_for_yes_and_no_answers() -> None:
    """Readers and cases drawn anew many times: the average estimate is the variance of the averages."""
    rng = np.random.default_rng(7)
    averages, variances = [], []
    for _ in range(1200):
        skill, ease = rng.normal(0.5, 0.5, (4, 1)), rng.normal(0, 0.7, 25)
        values = (skill + ease + rng.normal(0, 1, (4, 25)) > 0).astype(float)
        values[0, :10] = np.nan
        found = analyse_values(values[None], readers="abcd", treatments=("A",)).single[0]
        averages.append(found.estimate)
        variances.append(found.variance)
    assert np.mean(variances) == pytest.approx(np.var(averages), rel=0.1)


@needs_reference
def test_twenty_readers_and_a_thousand_cases_take_a_fraction_of_a_second() -> None:
    made = read_ratings(ratings("sim20x2x1000_ties"))
    spent = []
    for _ in range(5):
        began = time.process_time()
        analyse(made)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.08  # iMRMC's R package: 41.6 s
