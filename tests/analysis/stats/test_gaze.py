"""Gaze outcomes: hand-worked values, intervals that hold, and what is said where there is nothing to say."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import gaze
from analysis.stats.agreement import icc
from analysis.stats.gaze import How, Look
from analysis.stats.means import compare_means
from analysis.stats.ratings import RatingsError

READERS, ARMS = ("R1", "R2", "R3", "R4"), ("aided", "plain")


def mean_of(outcome: gaze.Outcome, treatment: str) -> float:
    assert outcome.result is not None, outcome.not_estimable
    found = next(mean.estimate for mean in outcome.result.means if mean.treatment == treatment)
    assert found is not None
    return found


def named(outcomes: list[gaze.Outcome]) -> dict[str, gaze.Outcome]:
    for outcome in outcomes:
        json.dumps(outcome.to_dict(), allow_nan=False)
    return {outcome.key: outcome for outcome in outcomes}


def every_read(readers: Any = READERS, arms: Any = ARMS, cases: int = 6) -> pd.DataFrame:
    keys = itertools.product(readers, arms, [f"c{k}" for k in range(cases)])
    return pd.DataFrame(keys, columns=["reader", "treatment", "case"])


# ── on findings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def looked(
    first: Any, *, kundel: Any = None, dwell: float = 1.0, revisits: int = 0, known: bool = True
) -> dict[str, Any]:
    return {"looked": known, "first_s": first, "dwell_s": dwell, "revisits": revisits, "kundel": kundel}


def findings(of: Any) -> pd.DataFrame:
    """`of`: (reader, treatment, case) → what was done with each finding there."""
    rows = []
    for key in every_read().itertuples(index=False):
        rows += [dict(zip(("reader", "treatment", "case"), key, strict=True)) | one for one in of(*key)]
    return pd.DataFrame(rows)


def test_a_finding_never_fixated_counts_with_the_horizon() -> None:
    """Firsts of 2, 30 and never: restricted to 10 s the mean is (2 + 10 + 10) / 3; of the fixated it is 16."""

    def of(reader: str, treatment: str, case: str) -> list[dict[str, Any]]:
        return {"c0": [looked(2.0)], "c1": [looked(30.0), looked(None, dwell=0.0, kundel="search")]}.get(case, [])

    found = named(gaze.finding_outcomes(every_read(), findings(of), horizon_s=10))
    assert mean_of(found["time_to_first_fixation_s"], "plain") == pytest.approx(22 / 3)
    assert mean_of(found["time_to_first_fixation_if_fixated_s"], "plain") == pytest.approx(16)
    assert mean_of(found["fixated_share"], "aided") == pytest.approx(2 / 3)
    assert mean_of(found["dwell_s"], "aided") == pytest.approx(2 / 3)
    assert found["fixated_share"].reads == {"aided": 8, "plain": 8}  # only these two cases have a finding
    assert "never fixated counts with 10 s" in found["time_to_first_fixation_s"].conventions[0]


def test_nan_and_none_both_say_never_fixated() -> None:
    for never in (None, float("nan")):
        table = findings(lambda r, t, c, never=never: [looked(never, dwell=0.0)] if c == "c0" else [looked(1.0)])
        assert mean_of(named(gaze.finding_outcomes(every_read(), table))["fixated_share"], "plain") == pytest.approx(
            5 / 6
        )


def test_the_restricted_mean_falls_when_findings_are_found_sooner_and_the_difference_says_so() -> None:
    rng = np.random.default_rng(3)
    table = findings(lambda r, t, c: [looked(float(rng.exponential(2 if t == "aided" else 5)))])
    found = named(gaze.finding_outcomes(every_read(), table, how=How(reference="plain")))
    result = found["time_to_first_fixation_s"].result
    assert result is not None
    (comparison,) = result.comparisons
    assert comparison.treatments == ("aided", "plain")
    assert comparison.difference is not None and comparison.difference < 0
    assert comparison.ci is not None and comparison.ci[0] < comparison.difference < comparison.ci[1]


def test_classes_of_misses_are_shares_of_the_misses_that_have_one() -> None:
    def of(reader: str, treatment: str, case: str) -> list[dict[str, Any]]:
        kind = {"c0": "search", "c1": "decision", "c2": "decision" if reader == "R1" else None}.get(case)
        return [looked(1.0, kundel=kind)]

    found = named(gaze.finding_outcomes(every_read(), findings(of)))
    assert mean_of(found["kundel_search"], "plain") == pytest.approx(4 / 9)
    assert mean_of(found["kundel_decision"], "plain") == pytest.approx(5 / 9)
    assert mean_of(found["kundel_recognition"], "plain") == 0
    assert sum(mean_of(found[f"kundel_{kind}"], "aided") for kind in gaze.KUNDEL) == pytest.approx(1)


def test_a_study_without_misses_says_so() -> None:
    found = named(gaze.finding_outcomes(every_read(), findings(lambda r, t, c: [looked(1.0)])))
    assert found["kundel_search"].result is None
    said = "not estimable, because no read has a missed finding that could be classified"
    assert found["kundel_search"].not_estimable == said


def test_findings_of_unknown_place_are_no_looks_but_may_be_misses() -> None:
    found = named(gaze.finding_outcomes(every_read(), findings(lambda r, t, c: [looked(None, known=False)])))
    assert {outcome.result for outcome in found.values()} == {None}


def test_without_any_read_every_outcome_says_why() -> None:
    none = pd.DataFrame(columns=["reader", "treatment", "case"])
    for outcome in gaze.finding_outcomes(none, none):
        assert outcome.not_estimable.startswith("not estimable, because no read has ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reader": "R9"}, r"Row 1 of the findings \(reader R9, treatment aided, case c0\) is of no read"),
        ({"kundel": "guess"}, "class 'guess'"),
        ({"first_s": -1.0}, "negative or missing"),
        ({"dwell_s": float("nan")}, "negative or missing"),
    ],
)
def test_faulty_findings_are_refused(change: dict[str, Any], sentence: str) -> None:
    table = findings(lambda r, t, c: [looked(1.0, kundel="search")]).astype(object)
    for column, value in change.items():
        table.loc[0, column] = value
    with pytest.raises(RatingsError, match=sentence):
        gaze.finding_outcomes(every_read(), table)


def test_a_read_that_stands_twice_is_refused() -> None:
    reads = pd.concat([every_read(), every_read()[:1]])
    with pytest.raises(RatingsError, match="case c0 by reader R1 under aided stands twice"):
        gaze.finding_outcomes(reads, pd.DataFrame())


def test_tables_without_a_column_or_a_label_are_refused() -> None:
    table = every_read().assign(v=1.0)
    with pytest.raises(RatingsError, match="lacks the column case"):
        gaze.outcome_of_means(table.drop(columns="case"), "v", key="v", label="v")
    with pytest.raises(RatingsError, match="lacks the column n; it needs reader, treatment, case, v, n"):
        gaze.outcome_of_ratios(table, "v", "n", key="v", label="v")
    with pytest.raises(RatingsError, match="lacks the column w"):
        gaze.compare_figure(table, ["w"], lambda rows: 1.0, name="w")
    table.loc[7, "reader"] = None
    for refuse in (
        lambda: gaze.outcome_of_means(table, "v", key="v", label="v"),
        lambda: gaze.compare_figure(table, ["v"], lambda rows: 1.0, name="v"),
    ):
        with pytest.raises(RatingsError, match="Row 8 has no reader"):
            refuse()


def test_a_missing_value_is_left_out_and_counted() -> None:
    table = every_read().assign(coverage=np.linspace(0, 1, 48))
    table.loc[0, "coverage"] = None
    found = gaze.outcome_of_means(table, "coverage", key="coverage", label="coverage")
    assert found.reads == {"aided": 23, "plain": 24}
    assert found.result is not None and any("1 of 48" in said for said in found.result.warnings)


def test_a_reader_of_a_single_read_is_left_out_and_named_and_the_others_are_compared() -> None:
    table = every_read().assign(v=np.random.default_rng(0).normal(size=48))
    short = table[(table["reader"] != "R1") | (table["treatment"] != "plain") | (table["case"] == "c0")]
    found = gaze.outcome_of_means(short, "v", key="v", label="v")
    assert found.result is not None and found.result.comparisons[0].se is not None
    assert any("reader R1 under plain" in said and said.startswith("Left out") for said in found.result.warnings)
    assert found.reads == {"aided": 24, "plain": 18}


def test_an_outcome_only_one_treatment_has_is_given_without_a_comparison() -> None:
    table = every_read().assign(panel=[5.0 + k % 3 if k // 6 % 2 == 0 else None for k in range(48)])
    found = gaze.outcome_of_means(table, "panel", key="panel", label="panel", how=How(reference="plain"))
    assert found.result is not None
    assert (found.result.treatments, found.result.comparisons) == (("aided",), ())
    assert mean_of(found, "aided") == pytest.approx(6)


# ── figures over many cases ───────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_mean_as_a_figure_is_the_comparison_of_means(seed: int) -> None:
    table = every_read().assign(v=np.random.default_rng(seed).normal(size=48))
    one = gaze.compare_figure(table, ["v"], lambda rows: float(rows.mean()), name="v")
    other = compare_means(table, "v")
    assert one is not None
    for a, b in zip((*one.means, *one.comparisons), (*other.means, *other.comparisons), strict=True):
        assert a.se == pytest.approx(b.se)
        assert a.df == pytest.approx(b.df)


def test_readers_without_a_figure_are_named() -> None:
    table = every_read().assign(v=np.random.default_rng(1).normal(size=48))
    short = table[(table["reader"] != "R1") | (table["treatment"] != "plain") | (table["case"] == "c0")]
    found = gaze.compare_figure(short, ["v"], lambda rows: float(rows.mean()), name="v")
    assert found is not None and any("reader R1 under plain (1 cases)" in said for said in found.warnings)
    assert gaze.compare_figure(table, ["v"], lambda rows: None, name="v") is None


def test_icc_of_shrout_and_fleiss() -> None:
    """Shrout & Fleiss (Psychological Bulletin 86, 1979), table 2: ICC(2,1) = .29."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert gaze.icc_agreement(ratings) == pytest.approx(0.28976378)
    assert gaze.icc_agreement(np.ones((4, 2))) is None
    assert gaze.icc_agreement(np.c_[np.arange(5.0), np.arange(5.0)]) == pytest.approx(1)


@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_the_icc_is_the_agreement_rooms(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.normal(size=(n, 1)) + rng.normal(0, rng.uniform(0.1, 2), size=(n, k))
    assert gaze.icc_agreement(ratings) == pytest.approx(icc(ratings)["(2,1)"].estimate)


# ── scanpaths ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def a_path(rng: np.random.Generator, n: int = 12) -> np.ndarray:
    return np.column_stack([rng.uniform(0, 1, (n, 2)), rng.uniform(0.1, 0.5, n)])


def like(path: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    moved = path + np.column_stack([rng.normal(0, spread, (len(path), 2)), np.zeros(len(path))])
    return np.clip(moved, 0, 0.999)


@pytest.fixture(scope="module")
def looks() -> tuple[list[Look], dict[str, np.ndarray]]:
    """Reads that follow the model's path, aided ones more closely."""
    rng = np.random.default_rng(5)
    model = {f"c{k}": a_path(rng) for k in range(6)}
    made = [
        Look(r, t, c, like(model[c], rng, 0.03 if t == "aided" else 0.1))
        for r, t, c in every_read().itertuples(index=False)
    ]
    return made, model


def test_fixations_beside_the_image_are_left_out() -> None:
    path = gaze.on_image([0, 99, 100, -1, np.nan], [0, 49, 10, 10, 10], [1, 1, 1, 1, 1], rows=50, columns=100)
    assert path.tolist() == [[0.005, 0.01, 1.0], [0.995, 0.99, 1.0]]


def test_reads_that_follow_the_model_are_above_chance(looks: Any) -> None:
    found = named(gaze.similarity_outcomes(*looks, model_name="GazeX", how=How(reference="plain")))
    for name, (_, alike) in gaze.SCANPATHS.items():
        word = "above" if alike else "below"
        above = mean_of(found[f"{name}_{word}_chance"], "aided")
        difference = mean_of(found[f"{name}_to_model"], "aided") - mean_of(found[f"{name}_chance"], "aided")
        assert above == pytest.approx(difference if alike else -difference)
    # Every fixation lasts as long as the model's and begins near it.
    assert mean_of(found["scanmatch_above_chance"], "aided") > mean_of(found["scanmatch_above_chance"], "plain") > 0.1
    assert mean_of(found["dtw_to_model"], "aided") < mean_of(found["dtw_to_model"], "plain")
    assert found["dtw_to_model"].result is not None
    assert found["scanmatch_between_readers"].reads == {"aided": 24, "plain": 24}


def test_the_models_own_path_is_like_itself(looks: Any) -> None:
    _, model = looks
    table = gaze.to_model([Look("R1", "aided", case, path) for case, path in model.items()], model)
    for name, (_, alike) in gaze.SCANPATHS.items():
        assert table[name].tolist() == pytest.approx([1.0 if alike else 0.0] * 6)
        assert ((table[f"{name}_chance"] < 1) if alike else (table[f"{name}_chance"] > 0)).all()


def test_with_a_single_case_there_is_no_chance_to_compare_with(looks: Any) -> None:
    made, model = looks
    found = named(gaze.similarity_outcomes([look for look in made if look.case == "c0"], {"c0": model["c0"]}))
    assert "of another case" in found["scanmatch_chance"].not_estimable
    assert found["scanmatch_to_model"].result is not None  # its intervals say that one case shows no variance


def test_reads_of_too_few_fixations_have_no_multimatch_but_a_scanmatch(looks: Any) -> None:
    made, model = looks
    short = [Look(*look.key, look.path[:2]) if look.reader == "R1" else look for look in made]
    found = named(gaze.similarity_outcomes(short, model))
    assert found["multimatch_shape_to_model"].reads == {"aided": 18, "plain": 18}
    assert found["multimatch_shape_between_readers"].reads == {"aided": 18, "plain": 18}
    assert found["scanmatch_to_model"].reads == {"aided": 24, "plain": 24}


def test_without_the_models_paths_only_readers_are_compared(looks: Any) -> None:
    found = named(gaze.similarity_outcomes(looks[0], {}, model_name="GazeX"))
    assert found["scanmatch_to_model"].not_estimable.endswith("a trajectory of GazeX")
    assert found["scanmatch_between_readers"].result is not None


def test_no_look_at_all_is_no_error() -> None:
    for outcome in [
        *gaze.similarity_outcomes([], {}), *gaze.map_outcomes([], {}), *gaze.centroid_outcomes([], {}),
    ]:  # fmt: skip
        assert outcome.result is None and outcome.not_estimable


# ── pairs of readers ──────────────────────────────────────────────────────────────────────────────────────────────────


def pairs_of(kernel: Any, readers: int, cases: int) -> pd.DataFrame:
    keys = [(f"R{j}", "plain", f"c{k}") for k in range(cases) for j in range(readers)]
    pairs = [(a, b) for a, b in itertools.combinations(range(len(keys)), 2) if keys[a][2] == keys[b][2]]
    return gaze.pair_values(keys, pairs, [kernel(*keys[a], *keys[b]) for a, b in pairs])


def test_the_mean_of_reads_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(2)
    values: list[float] = []

    def kernel(*_: str) -> float:
        values.append(float(rng.normal()))
        return values[-1]

    table = pairs_of(kernel, 5, 4)
    assert table["value"].mean() == pytest.approx(np.mean(values))
    assert set(table["readers"]) == {5}


def test_the_interval_over_pairs_of_readers_holds() -> None:
    """Similarity is lowered by both readers' idiosyncrasy: its true mean is 1 − 2·0.5 over new readers and cases.

    Taking each reader's plain mean for an independent number would halve the standard error and cover 68 % only.
    """
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(150):
        own = dict(zip([f"R{j}" for j in range(8)], rng.normal(0.5, 0.2, 8), strict=True))
        level = dict(zip([f"c{k}" for k in range(10)], rng.normal(0, 0.1, 10), strict=True))

        def kernel(r: str, _: str, c: str, other: str, *__: str, own: Any = own, level: Any = level) -> float:
            return float(1 - own[r] - own[other] + level[c] + rng.normal(0, 0.05))

        outcome = gaze.pair_outcome(pairs_of(kernel, 8, 10), key="v", label="v")
        assert outcome.result is not None
        (mean,) = outcome.result.means
        assert mean.lower is not None and mean.upper is not None
        covered.append(mean.lower <= 0 <= mean.upper)
    assert 0.89 <= np.mean(covered) <= 0.99


def test_two_readers_say_nothing_of_readers() -> None:
    rng = np.random.default_rng(4)
    outcome = gaze.pair_outcome(pairs_of(lambda *_: float(rng.normal()), 2, 6), key="v", label="v")
    assert outcome.result is not None and outcome.result.random == "cases"
    assert any("holds for these readers" in said for said in outcome.conventions)


def test_pairs_that_are_none_or_incomplete_are_refused() -> None:
    keys = [("R1", "plain", "c0"), ("R2", "plain", "c0"), ("R3", "plain", "c0"), ("R1", "plain", "c1")]
    with pytest.raises(RatingsError, match="different cases or treatments"):
        gaze.pair_values(keys, [(0, 3)], [1.0])
    with pytest.raises(RatingsError, match="lacks a pair of its 3 readers"):
        gaze.pair_values(keys, [(0, 1), (1, 2)], [1.0, 1.0])


# ── centroids and maps ────────────────────────────────────────────────────────────────────────────────────────────────


def test_centroids_weigh_by_duration() -> None:
    assert gaze.centroid(np.array([[0.0, 0.0, 1.0], [1.0, 0.5, 3.0]])) == (0.75, 0.375)
    assert gaze.centroid(np.zeros((0, 3))) is None


def test_readers_who_look_where_the_model_looks_have_a_high_icc(looks: Any) -> None:
    found = named(gaze.centroid_outcomes(*looks, model_name="GazeX"))
    for axis in ("x", "y"):
        assert mean_of(found[f"icc_{axis}"], "aided") > 0.8
    rng = np.random.default_rng(9)
    strangers = [Look(*look.key, a_path(rng)) for look in looks[0]]
    assert abs(mean_of(named(gaze.centroid_outcomes(strangers, looks[1]))["icc_x"], "aided")) < 0.6


def test_maps_of_the_same_gaze_have_a_cosine_of_1_and_other_cases_less(looks: Any) -> None:
    made, model = looks
    same = [Look(*look.key, model[look.case]) for look in made]
    found = named(gaze.map_outcomes(same, model))
    assert mean_of(found["map_cosine_to_model"], "plain") == pytest.approx(1)
    assert mean_of(found["map_cosine_between_readers"], "plain") == pytest.approx(1)
    assert mean_of(found["map_cosine_chance"], "plain") < 0.95
    above = mean_of(found["map_cosine_above_chance"], "plain")
    assert above == pytest.approx(1 - mean_of(found["map_cosine_chance"], "plain"))


def test_a_heat_map_lies_where_the_eyes_rested() -> None:
    heat = np.array(gaze.heat_map_of([75.0], [25.0], [1.0], rows=100, columns=100))
    assert heat.shape == (32, 32)
    assert heat.max() == 1 and heat.min() >= 0
    assert np.unravel_index(heat.argmax(), heat.shape) == (8, 24)


@given(st.floats(0.01, 100), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_a_heat_map_is_of_shares_not_of_seconds_or_pixels(factor: float, zoom: int) -> None:
    x, y, d = np.array([10.0, 30.0, 70.0]), np.array([20.0, 80.0, 50.0]), np.array([1.0, 2.0, 0.5])
    one = gaze.heat_map_of(x, y, d, rows=100, columns=80)
    other = gaze.heat_map_of(
        (x + 0.5) * zoom - 0.5, (y + 0.5) * zoom - 0.5, d * factor, rows=100 * zoom, columns=80 * zoom
    )
    assert np.allclose(np.array(one), np.array(other), atol=0.0011)


def test_long_reads_do_not_outweigh_short_ones() -> None:
    left, right = np.array([[0.2, 0.5, 100.0]]), np.array([[0.8, 0.5, 1.0]])
    heat = np.array(gaze.heat_map([left, right]))
    assert np.allclose(heat, heat[:, ::-1], atol=0.002)


def test_a_map_of_no_fixation_is_none() -> None:
    assert gaze.heat_map([np.zeros((0, 3))]) is None
    assert gaze.heat_map_of([500.0], [0.0], [1.0], rows=10, columns=10) is None
