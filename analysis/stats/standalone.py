"""The AI alone against the readers: one modality read once by a machine, and by J readers drawn from many.

With A_0 the AI's figure of merit and A_j reader j's on the same cases, the analysis is that of one treatment on the
differences ψ_j = A_j − A_0, whose error covariance over cases has two levels: Var (same reader) and Cov2 (two readers,
who share the AI and so are correlated even if they agree in nothing):

    readers and cases random: variance of the mean (MSR + J·max(Cov2, 0))/J, MSR the variance of the ψ_j,
                              df = (MSR + J·max(Cov2, 0))² / [MSR²/(J − 1)]
    cases random:             (Var + (J − 1)·Cov2)/J, normal law
    readers random:           MSR/J, df = J − 1

Sources:
    Hillis, Berbaum & Metz, Academic Radiology 15:647 (2008): the single-treatment analysis and its df.
    Chakraborty, Observer Performance Methods for Diagnostic Imaging (2017), ch. 22: the analysis of ψ, "1T-RRRC".
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats import froc
from analysis.stats.components import COVARIANCES, components
from analysis.stats.froc import covariance_words
from analysis.stats.laws import t_above, t_critical, t_two_sided
from analysis.stats.marks import read_marks
from analysis.stats.obuchowski_rockette import Interval, Random, analyse
from analysis.stats.options import check_level, check_margin, known, random_of
from analysis.stats.ratings import Ratings, RatingsError, name_of, read_ratings, sentence_list
from analysis.stats.results import RANDOM_WORDS, Noninferiority, narrower, plain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReaderAgainstAI:
    """One reader's figure of merit and its difference to the AI's, reader − AI, with the interval over cases."""

    reader: str
    estimate: float
    difference: float
    se: float | None
    lower: float | None
    upper: float | None
    p: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Standalone:
    """The readers against the AI; ``difference`` is the readers' mean − the AI. No field is ever NaN.

    Attributes:
        ai: name of the AI in the table.
        ai_estimate: its figure of merit, with the interval over cases (normal law).
        readers_mean: the readers' average, with an interval for readers and cases (or what ``random`` says).
        var, cov2: error variance of a difference ψ_j and covariance of two, over cases.
        ms_r: variance of the ψ_j over readers.
    """

    fom: str
    covariance: str
    random: str
    alpha: float
    margin: float | None
    treatment: str
    ai: str
    readers: tuple[str, ...]
    diseased: int
    nondiseased: int
    ai_estimate: Interval
    readers_mean: Interval
    difference: float
    se: float | None
    df: float | None
    ci: tuple[float, float] | None
    statistic: float | None
    p: float | None
    noninferiority: Noninferiority | None
    per_reader: tuple[ReaderAgainstAI, ...]
    var: float
    cov2: float | None
    ms_r: float | None
    method: str
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, fit for JSON; an infinite df becomes "infinite"."""
        return dict(plain(dataclasses.asdict(self)))


def standalone(
    frame: pd.DataFrame,
    ai: object,
    *,
    treatment: object | None = None,
    covariance: str = "jackknife",
    random: str = "readers_cases",
    alpha: float = 0.05,
    margin: float | None = None,
) -> Standalone:
    """Compare the readers' mean AUC with that of an AI that rated the same cases.

    Args:
        frame: columns ``reader, treatment, case, truth, rating``; the AI is one of the readers.
        ai: its name.
        treatment: how the readers read; needed where the table holds several treatments. The AI's ratings are those
            under it or, if it has none there, those under the only treatment it has ratings in.
        covariance: "jackknife", "delong" or "unbiased".
        random: "readers_cases", "cases" or "readers": what the conclusion should hold for. The AI is never random.
        alpha: two-sided.
        margin: the AI is non-inferior if it is worse than the readers' mean by less than this; one-sided at alpha/2.

    Raises:
        RatingsError: the table is faulty, the AI is not in it, a rating is missing, a class is empty or has one
            case, or an argument names nothing known; one sentence.
    """
    known("covariance", covariance, tuple(COVARIANCES))
    law = random_of(random)
    check_margin(margin)
    check_level(alpha)
    table = read_ratings(frame)
    name = name_of(ai)
    people, machine, chosen, warnings = _chosen(table, name, None if treatment is None else name_of(treatment))
    readers = tuple(reader for reader in table.readers if reader != name)
    scores = np.concatenate([people, machine[None]])
    n1, n0 = int(table.truth.sum()), int((~table.truth).sum())
    _two_of_each(n1, n0)
    positives, negatives = scores[:, table.truth], scores[:, ~table.truth]
    parts = components(positives, negatives)
    return standalone_from(
        fom="auc",
        covariance=covariance,
        random=law,
        alpha=alpha,
        margin=margin,
        treatment=chosen,
        ai=name,
        readers=readers,
        diseased=n1,
        nondiseased=n0,
        foms=parts.auc,
        errors=COVARIANCES[covariance](parts, positives, negatives),
        method_words=f"empirical AUC, {covariance_words(covariance)}",
        warnings=warnings,
    )


def standalone_froc(
    marks: pd.DataFrame,
    truth: pd.DataFrame,
    ai: object,
    *,
    fom: str = "wafroc",
    treatment: object | None = None,
    covariance: str = "jackknife",
    random: str = "readers_cases",
    alpha: float = 0.05,
    margin: float | None = None,
) -> Standalone:
    """:func:`standalone` on a free-response figure of merit; tables as in :func:`analysis.stats.marks.read_marks`.

    Raises:
        RatingsError: as :func:`standalone`.
    """
    known("fom", fom, froc.FIGURES_OF_MERIT)
    known("covariance", covariance, froc.COVARIANCES)
    law = random_of(random)
    check_margin(margin)
    check_level(alpha)
    table = read_marks(marks, truth, weighted=fom.startswith("w"))
    name = name_of(ai)
    marked = np.zeros(table.shape, dtype=bool)
    marked |= (table.lesion_ratings > -np.inf).any(axis=2) | (table.highest > -np.inf).any(axis=2)
    at = _treatment(table.treatments, None if treatment is None else name_of(treatment))
    row = _reader(table.readers, name)
    ai_at, warnings = _where_the_ai_is(table.treatments, at, marked[:, row], name)
    figures = froc.figures_of_merit(table, fom)
    if figures.why:
        raise RatingsError(f"The comparison is {figures.why}.")
    errors = froc.covariance_of(figures, covariance)
    humans = [j for j in range(len(table.readers)) if j != row]
    cells = [at * len(table.readers) + j for j in humans] + [ai_at * len(table.readers) + row]
    return standalone_from(
        fom=fom,
        covariance=covariance,
        random=law,
        alpha=alpha,
        margin=margin,
        treatment=table.treatments[at],
        ai=name,
        readers=tuple(table.readers[j] for j in humans),
        diseased=int(table.truth.sum()),
        nondiseased=int((~table.truth).sum()),
        foms=figures.foms[cells],
        errors=errors[np.ix_(cells, cells)],
        method_words=f"{froc.WORDS[fom]}, {covariance_words(covariance)}",
        conventions=froc.conventions_of(fom, covariance),
        warnings=warnings,
    )


def standalone_from(
    *,
    fom: str,
    covariance: str,
    random: Random,
    alpha: float,
    margin: float | None,
    treatment: str,
    ai: str,
    readers: tuple[str, ...],
    diseased: int,
    nondiseased: int,
    foms: Floats,
    errors: Floats,
    method_words: str,
    conventions: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Standalone:
    """The analysis from figures of merit.

    Args:
        foms: ``[J + 1]``, the readers' and last the AI's.
        errors: their error covariance over cases, ``[J + 1, J + 1]``.

    Raises:
        RatingsError: there is no reader beside the AI.
    """
    count = len(readers)
    if count == 0:
        raise RatingsError(f"The table has no reader beside {ai}; there is nobody to compare it with.")
    differences = foms[:-1] - foms[-1]
    block = errors[:-1, :-1] - errors[:-1, -1:] - errors[-1:, :-1] + errors[-1, -1]
    # One treatment's mean, of the differences: the same analysis as for figures of merit themselves.
    found = _tested(analyse(differences[None], block, random=random, alpha=alpha).means[0])
    own = analyse(foms[None, :-1], errors[:-1, :-1], random=random, alpha=alpha).means[0]
    machine = analyse(foms[None, -1:], errors[-1:, -1:], random="cases", alpha=alpha).means[0]
    said = [*warnings, *narrower(random)]
    names = (*readers, ai)
    perfect = [name for name, value in zip(names, foms, strict=True) if value in (0, 1)]
    if perfect:
        said.append(
            f"A figure of merit of exactly 0 or 1 has zero estimated variance over cases: {sentence_list(perfect)}; "
            "the standard errors are too small."
        )
    ci = None if found.lower is None or found.upper is None else (found.lower, found.upper)
    return Standalone(
        fom=fom,
        covariance=covariance,
        random=random,
        alpha=alpha,
        margin=margin,
        treatment=treatment,
        ai=ai,
        readers=readers,
        diseased=diseased,
        nondiseased=nondiseased,
        ai_estimate=machine,
        readers_mean=own,
        difference=float(differences.mean()),
        se=found.se,
        df=found.df,
        ci=ci,
        statistic=found.statistic,
        p=found.p,
        noninferiority=None if margin is None else _noninferiority(found, ai, margin, alpha),
        per_reader=tuple(
            _against(readers[j], float(foms[j]), float(differences[j]), float(block[j, j]), alpha) for j in range(count)
        ),
        var=float(np.trace(block) / count),
        cov2=float((block.sum() - np.trace(block)) / (count * (count - 1))) if count > 1 else None,
        ms_r=float(differences.var(ddof=1)) if count > 1 else None,
        method=(
            "Readers against one AI: single-treatment Obuchowski–Rockette analysis of each reader's difference to the "
            f"AI, {RANDOM_WORDS[random]}, {method_words}"
        ),
        conventions=(*conventions, *_conventions(random)),
        warnings=tuple(said),
        not_estimable=found.not_estimable,
    )


def _conventions(random: str) -> tuple[str, ...]:
    said = ["Differences are readers − AI: above zero the readers do better (RJafroc's avgDiffFom)."]
    said.append("The AI is fixed; it is not one of the readers and not drawn from a population of AIs.")
    if random == "readers_cases":
        said.append(
            "Cov2 of the differences is truncated at zero; degrees of freedom by Hillis (2008), as RJafroc's 1T-RRRC."
        )
    elif random == "cases":
        said.append("Cov2 of the differences is not truncated; normal law.")
    else:
        said.append("t law on J − 1 degrees of freedom, as RJafroc's 1T-RRFC.")
    said.append("The AI's own interval and each reader's are over cases alone (normal law).")
    said.append("Non-inferiority is of the AI to the readers' mean, one-sided at alpha/2.")
    return tuple(said)


def _tested(mean: Interval) -> Interval:
    """The interval with the test that the mean difference is zero."""
    if mean.se is None or mean.df is None or mean.estimate is None:
        return mean
    t = mean.estimate / mean.se
    return dataclasses.replace(mean, statistic=t, p=t_two_sided(t, mean.df))


def _noninferiority(found: Interval, ai: str, margin: float, alpha: float) -> Noninferiority:
    """Of the AI to the readers: AI − readers is the difference turned round."""
    if found.se is None or found.df is None or found.estimate is None:
        return Noninferiority(ai, "readers", margin, None, None, None, None, None, found.not_estimable)
    change = -found.estimate
    statistic = (change + margin) / found.se
    lower = change - t_critical(alpha, found.df) * found.se
    return Noninferiority(
        ai, "readers", margin, statistic, found.df, t_above(statistic, found.df), lower, lower > -margin
    )


def _against(reader: str, estimate: float, difference: float, variance: float, alpha: float) -> ReaderAgainstAI:
    if not variance > 1e-20:
        why = "not estimable, because the variance of this reader's difference is zero or negative"
        return ReaderAgainstAI(reader, estimate, difference, None, None, None, None, why)
    se = math.sqrt(variance)
    half = t_critical(alpha) * se
    p = t_two_sided(difference / se)
    return ReaderAgainstAI(reader, estimate, difference, se, difference - half, difference + half, p)


def _treatment(treatments: tuple[str, ...], wanted: str | None) -> int:
    if wanted is None:
        if len(treatments) > 1:
            raise RatingsError(
                f"The table has the treatments {', '.join(treatments)}; say which one the readers are compared "
                "under (treatment=…, or --treatment on the command line)."
            )
        return 0
    if wanted not in treatments:
        raise RatingsError(f"The treatment {wanted!r} is not among {', '.join(treatments)}.")
    return treatments.index(wanted)


def _reader(readers: tuple[str, ...], ai: str) -> int:
    if ai not in readers:
        raise RatingsError(
            f"The AI {ai!r} is not among the readers {sentence_list(readers, 20)}; name it as the table does."
        )
    return readers.index(ai)


def _where_the_ai_is(
    treatments: tuple[str, ...], at: int, rated: NDArray[np.bool_], ai: str
) -> tuple[int, tuple[str, ...]]:
    """The treatment the AI's own ratings stand under, and what is to be said about it."""
    if rated[at]:
        return at, ()
    elsewhere = np.flatnonzero(rated)
    if len(elsewhere) != 1:
        named = ", ".join(treatments[i] for i in elsewhere) or "no treatment"
        raise RatingsError(
            f"{ai} has nothing under {treatments[at]} and stands under {named}; keep one set of its ratings."
        )
    return int(elsewhere[0]), (
        f"{ai} has nothing under {treatments[at]}; its ratings are those under {treatments[int(elsewhere[0])]}.",
    )


def _chosen(table: Ratings, ai: str, wanted: str | None) -> tuple[Floats, Floats, str, tuple[str, ...]]:
    """The readers' ratings ``[J, n]``, the AI's ``[n]``, the treatment's name, and warnings."""
    row = _reader(table.readers, ai)
    if wanted is None and len(table.treatments) > 1:
        # An AI under a treatment of its own leaves no doubt which one the readers read under.
        humans = ~np.isnan(np.delete(table.scores, row, axis=1)).all(axis=(1, 2))
        if humans.sum() == 1:
            wanted = table.treatments[int(np.flatnonzero(humans)[0])]
    at = _treatment(table.treatments, wanted)
    rated = np.asarray(~np.isnan(table.scores[:, row]).all(axis=1), dtype=bool)
    ai_at, warnings = _where_the_ai_is(table.treatments, at, rated, ai)
    people, machine = np.delete(table.scores[at], row, axis=0), table.scores[ai_at, row]
    names = [reader for reader in table.readers if reader != ai]
    missing = [f"reader {names[j]} has no rating of case {table.cases[k]}" for j, k in np.argwhere(np.isnan(people))]
    missing += [f"{ai} has no rating of case {table.cases[k]}" for k in np.flatnonzero(np.isnan(machine))]
    if missing:
        raise RatingsError(
            f"Ratings are missing ({len(missing)}): {sentence_list(missing)}; the comparison needs the AI and every "
            "reader to rate every case."
        )
    return people, machine, table.treatments[at], warnings


def _two_of_each(n1: int, n0: int) -> None:
    if n1 < 2 or n0 < 2:
        raise RatingsError(
            f"The table has {n1} diseased and {n0} non-diseased cases; the comparison needs at least two of each."
        )
