"""Reliance: every rate counted by hand, every interval for new readers and cases, every reader's own change shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from analysis.stats.means import compare_means
from analysis.stats.ratings import RatingsError
from analysis.stats.reliance import Reliance, reliance, wilson


def decisions(
    seed: int = 1, *, readers: int = 5, cases: int = 60, skill: float = 0.75, advice: float = 0.8, follow: float = 0.6
) -> pd.DataFrame:
    """Readers who are right with ``skill``, advice right with ``advice``, taken where it differs with ``follow``."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(cases) % 2).astype(int)
    call = np.where(rng.random(cases) < advice, truth, 1 - truth)
    rows = []
    for j in range(readers):
        own = np.where(rng.random(cases) < skill, truth, 1 - truth)
        aided = np.where((own != call) & (rng.random(cases) < follow + 0.1 * (j - 2)), call, own)
        for k in range(cases):
            rows.append((f"R{j}", k, truth[k], own[k], aided[k], call[k]))
    return pd.DataFrame(rows, columns=["reader", "case", "truth", "unaided", "aided", "advice"])


def long(frame: pd.DataFrame) -> pd.DataFrame:
    arms = [
        frame[["reader", "case", "truth", "advice"]].assign(arm=arm, decision=frame[arm])
        for arm in ("unaided", "aided")
    ]
    return pd.concat(arms, ignore_index=True)


def by_hand(frame: pd.DataFrame) -> dict[str, tuple[int, int]]:
    own, final, right = (frame[c] == frame.truth for c in ("unaided", "aided", "advice"))
    fp, fn = ~right & (frame.advice == 1), ~right & (frame.advice == 0)
    follows, agrees = frame.aided == frame.advice, frame.unaided == frame.advice

    def of(event: Any, occasion: Any) -> tuple[int, int]:
        return int((event & occasion).sum()), int(occasion.sum())

    everything = own | ~own
    return {
        "switch_fraction": of(frame.aided != frame.unaided, everything),
        "agreement_unaided": of(agrees, everything),
        "agreement_aided": of(follows, everything),
        "switch_to_advice": of(follows, ~agrees),
        "switch_from_advice": of(~follows, agrees),
        "wrong_to_right": of(final, ~own),
        "right_to_wrong": of(~final, own),
        "over_reliance": of(~final, own & ~right),
        "under_reliance": of(~final, ~own & right),
        "rair": of(final, ~own & right),
        "rsr": of(final, own & ~right),
        "commission": of(frame.aided == 1, fp),
        "commission_unaided": of(frame.unaided == 1, fp),
        "omission": of(frame.aided == 0, fn),
        "omission_unaided": of(frame.unaided == 0, fn),
    }


@pytest.fixture(scope="module")
def found() -> Reliance:
    return reliance(decisions(), design="sequential")


def test_every_rate_is_what_counting_by_hand_gives(found: Reliance) -> None:
    frame = decisions()
    for name, (numerator, denominator) in by_hand(frame).items():
        rate = found.rates[name]
        assert (rate.numerator, rate.denominator) == (numerator, denominator), name
        assert rate.estimate == pytest.approx(numerator / denominator)
        assert sum(own.numerator for own in rate.by_reader) == numerator
    assert set(found.rates) == {*by_hand(frame), "commission_excess", "omission_excess"}


def test_rates_have_intervals_within_zero_and_one_for_new_readers_and_cases(found: Reliance) -> None:
    for name in ("over_reliance", "under_reliance", "rair", "rsr", "commission", "agreement_aided"):
        rate = found.rates[name]
        assert 0 < rate.lower < rate.estimate < rate.upper < 1
        assert rate.df is not None and rate.df >= 4
    over, rsr = found.rates["over_reliance"], found.rates["rsr"]
    assert (1 - over.estimate, 1 - over.upper, 1 - over.lower) == pytest.approx((rsr.estimate, rsr.lower, rsr.upper))


def test_the_excess_of_errors_is_the_difference_on_the_same_reads(found: Reliance) -> None:
    for kind in ("commission", "omission"):
        excess, aided, unaided = (found.rates[kind + end] for end in ("_excess", "", "_unaided"))
        assert excess.estimate == pytest.approx(aided.estimate - unaided.estimate)
        assert excess.lower < excess.estimate < excess.upper


def test_switches_are_counted_by_what_they_did_and_where_they_went(found: Reliance) -> None:
    frame = decisions()
    own, final, right = (frame[c] == frame.truth for c in ("unaided", "aided", "advice"))
    switched = frame.aided != frame.unaided
    for name, kept in (("all", right | ~right), ("assistance right", right), ("assistance wrong", ~right)):
        counts = found.switches[name]
        assert counts.stayed_right == (own & final & kept).sum()
        assert counts.right_to_wrong == (own & ~final & kept).sum()
        assert counts.wrong_to_right == (~own & final & kept).sum()
        assert counts.stayed_wrong == (~own & ~final & kept).sum()
        assert counts.switched_with == (switched & (frame.aided == frame.advice) & kept).sum()
        assert counts.switched_against == (switched & (frame.aided != frame.advice) & kept).sum()
        assert counts.reads == kept.sum()
    everyone = [found.switches_by_reader[reader] for reader in found.readers]
    assert sum(c.right_to_wrong for c in everyone) == found.switches["all"].right_to_wrong
    assert found.switches["all"].switched_against == 0  # nobody of this simulation leaves the advice


def test_strata_compare_accuracy_by_arm_where_the_assistance_was_right_and_wrong(found: Reliance) -> None:
    frame = decisions()
    both = (
        long(frame).assign(correct=lambda f: (f.decision == f.truth).astype(int)).rename(columns={"arm": "treatment"})
    )
    strata = {
        "assistance correct": both.advice == both.truth,
        "false positive": (both.advice == 1) & (both.truth == 0),
        "false negative": (both.advice == 0) & (both.truth == 1),
    }
    for name, kept in strata.items():
        expected = compare_means(both[kept], "correct", reference="unaided").comparisons[0]
        result = found.strata[name]
        assert not isinstance(result, str)
        (comparison,) = result.comparisons
        assert comparison.treatments == ("aided", "unaided")
        assert (comparison.difference, comparison.se) == pytest.approx((expected.difference, expected.se))
        assert comparison.ci is not None
        assert (comparison.difference > 0) == (name == "assistance correct")


def test_every_readers_own_change_is_shown_harm_included() -> None:
    frame = decisions(2, advice=0.3, follow=0.7)
    found = reliance(frame, design="sequential")
    shown = {(c.reader, c.measure): c for c in found.reader_changes}
    assert len(shown) == 5 * 3
    for reader, own in frame.groupby("reader"):
        for measure, kept in (
            ("accuracy", own.truth >= 0),
            ("sensitivity", own.truth == 1),
            ("specificity", own.truth == 0),
        ):
            rows = own[kept]
            change = shown[reader, measure]
            aided, unaided = (rows.aided == rows.truth), (rows.unaided == rows.truth)
            assert (change.aided, change.unaided) == pytest.approx((aided.mean(), unaided.mean()))
            assert (change.gained, change.lost) == ((aided & ~unaided).sum(), (~aided & unaided).sum())
            table = pd.crosstab(aided, unaided).reindex(index=[False, True], columns=[False, True], fill_value=0)
            assert change.p == pytest.approx(mcnemar(table, exact=True).pvalue)
            if change.lower is not None:
                assert change.verdict == (
                    "worse" if change.upper < 0 else "better" if change.lower > 0 else "not shown"
                )
    assert found.harmed and any(c.verdict == "worse" for c in found.reader_changes)
    assert set(found.harmed) == {r for (r, m), c in shown.items() if m == "accuracy" and c.change < 0}


def test_the_two_layouts_of_the_same_decisions_give_the_same_numbers(found: Reliance) -> None:
    again = reliance(long(decisions()).sample(frac=1, random_state=3), design="sequential")
    assert again.to_dict() == found.to_dict()
    emptied = long(decisions()).assign(advice=lambda f: f.advice.astype(object).where(f.arm == "aided", ""))
    assert reliance(emptied, design="sequential").to_dict() == found.to_dict()
    assert reliance(decisions().astype(str), design="sequential").to_dict() == found.to_dict()


def test_a_crossover_says_that_switches_hold_the_readers_own_inconsistency(found: Reliance) -> None:
    crossed = reliance(decisions(), design="crossover")
    assert "another session" in crossed.conventions[0] and "locked before" in found.conventions[0]
    assert crossed.rates == found.rates


def test_reads_in_one_arm_only_count_in_accuracy_and_not_in_switches() -> None:
    frame = long(decisions())
    gone = (frame.reader == "R1") & (frame.case < 20) & (frame.arm == "aided")
    result = reliance(frame[~gone], design="crossover")
    assert (result.pairs, result.unpaired) == (5 * 60 - 20, 20)
    assert "20 reads have one of the two answers only" in result.warnings[0]
    accuracy = result.measures["accuracy"]
    assert not isinstance(accuracy, str)
    kept = decisions()[lambda f: (f.reader == "R1") & (f.case >= 20)]
    assert accuracy.auc["aided"]["R1"] == pytest.approx((kept.aided == kept.truth).mean())
    assert accuracy.auc["unaided"]["R1"] == pytest.approx(
        (decisions()[lambda f: f.reader == "R1"].pipe(lambda f: f.unaided == f.truth)).mean()
    )


def test_each_case_read_once_has_strata_and_accuracy_and_no_switch() -> None:
    frame = long(decisions())
    once = frame[((frame.case + frame.reader.str[1:].astype(int)) % 4 < 2) == (frame.arm == "aided")]
    result = reliance(once, design="crossover")
    assert result.pairs == 0 and result.rates["over_reliance"].not_estimable.endswith("no such read")
    stratum = result.strata["assistance correct"]
    assert not isinstance(stratum, str) and stratum.comparisons[0].se is not None
    json.dumps(result.to_dict())


def test_a_denominator_of_zero_is_not_estimable_and_says_why() -> None:
    frame = decisions(advice=1.0)
    result = reliance(frame, design="sequential")
    over = result.rates["over_reliance"]
    assert over.estimate is None and over.not_estimable == "not estimable, because there was no such read"
    assert all("had no such read" in own.not_estimable for own in over.by_reader)
    assert "assistance was false positive" in str(result.strata["false positive"])
    obedient = reliance(frame.assign(aided=frame.advice), design="sequential")
    assert obedient.rates["rair"].estimate == 1.0
    assert "in all of" in obedient.rates["rair"].not_estimable
    stubborn = reliance(frame.assign(aided=frame.unaided), design="sequential")
    assert "in none of 300 reads" in stubborn.rates["switch_fraction"].not_estimable
    for one in (result, obedient, stubborn):
        json.dumps(one.to_dict(), allow_nan=False)


def test_one_reader_or_one_class_still_gives_counts() -> None:
    lone = reliance(decisions()[lambda f: f.reader == "R0"], design="sequential")
    assert lone.rates["rair"].estimate is not None and "one reader" in lone.rates["rair"].not_estimable
    assert lone.rates["rair"].by_reader[0].lower is not None
    diseased = reliance(decisions()[lambda f: f.truth == 1], design="sequential")
    assert "no read of a negative case" in str(diseased.measures["specificity"])
    for one in (lone, diseased):
        json.dumps(one.to_dict(), allow_nan=False)


def test_the_interval_of_over_reliance_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(120):
        level = 1 / (1 + np.exp(-rng.normal(0, 0.8, 6)))
        frame = decisions(int(rng.integers(1 << 30)), readers=6, cases=40, advice=0.5)
        differs = frame.unaided != frame.advice
        taken = rng.random(len(frame)) < level[frame.reader.str[1:].astype(int)]
        frame = frame.assign(aided=frame.unaided.where(~(differs & taken), frame.advice))
        rate = reliance_rate(frame)
        covered.append(rate[0] < 0.5 < rate[1])
    assert 0.88 < np.mean(covered) <= 1


def reliance_rate(frame: pd.DataFrame) -> tuple[float, float]:
    from analysis.stats.means import ratio_of, read_reads

    right_own, wrong_advice = frame.unaided == frame.truth, frame.advice != frame.truth
    both = right_own & wrong_advice
    table = frame.assign(over=(both & (frame.aided != frame.truth)).astype(int), under=both.astype(int))
    reads = read_reads(table, ["over", "under"])
    found = ratio_of(reads.values["over"][0], reads.values["under"][0], scale="logit")
    assert found.lower is not None and found.upper is not None
    return found.lower, found.upper


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (3, 17), (5, 5), (40, 90)])
def test_wilsons_interval_agrees_with_statsmodels(hits: int, of: int) -> None:
    assert wilson(hits, of) == pytest.approx(proportion_confint(hits, of, method="wilson"), abs=1e-12)


def test_confidence_is_compared_where_the_reader_agreed_and_where_not() -> None:
    rng = np.random.default_rng(5)
    frame = decisions()
    sure = rng.integers(1, 6, len(frame)).astype(float)
    gain = np.where(frame.unaided == frame.advice, 1.0, -0.5) + rng.normal(0, 0.2, len(frame))
    result = reliance(frame.assign(unaided_confidence=sure, aided_confidence=sure + gain), design="sequential")
    agreed, differed = result.confidence.values()
    assert agreed.lower < 1.0 < agreed.upper and differed.lower < -0.5 < differed.upper


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="advice"), "lacks the column advice"),
        (lambda f: f.iloc[:0], "has no rows"),
        (lambda f: f.assign(aided=f.aided.where(f.index != 3, 2)), "aided of row 4 is 2.*; it must be 0 or 1"),
        (lambda f: f.assign(aided=f.aided.astype(object).where(f.index != 3, "yes")), "aided of row 4 is 'yes'"),
        (lambda f: f.assign(advice=f.advice.astype(object).where(f.index != 3, None)), "advice of row 4 is missing"),
        (
            lambda f: pd.concat([f, f.iloc[[0]]], ignore_index=True),
            "Row 301 repeats row 1; keep one row per reader and",
        ),
        (lambda f: f.assign(truth=f.truth.where(f.index != 60, 1 - f.truth)), "truth of row 61 differs from that of"),
        (lambda f: f.assign(reader=f.reader.where(f.index != 0, "")), "Row 1 has no reader"),
        (lambda f: long(f).assign(arm="third"), "arm of row 1 is 'third'; it must be"),
        (
            lambda f: long(f).assign(advice=lambda g: g.advice.where(g.index != 300, 1 - g.advice)),
            "advice of row 1 differs|advice of row 301 differs",
        ),
    ],
    ids=["column", "empty", "two", "text", "missing", "twice", "truths", "reader", "arm", "advice"],
)
def test_faulty_decisions_are_refused_with_the_row(change: Any, sentence: str) -> None:
    with pytest.raises(RatingsError, match=sentence):
        reliance(change(decisions()), design="sequential")
    with pytest.raises(RatingsError, match="design is 'parallel'"):
        reliance(decisions(), design="parallel")  # type: ignore[arg-type]
