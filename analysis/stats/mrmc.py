"""One call from a ratings table to a multi-reader multi-case result.

:func:`analyze` checks the table (:mod:`analysis.stats.ratings`), computes every figure of merit with its covariances
(:mod:`analysis.stats.foms`, :mod:`analysis.stats.components`) and runs the Obuchowski–Rockette analysis
(:mod:`analysis.stats.obuchowski_rockette`). Where cells are missing (split-plot, nested, unpaired cases) it takes the
U-statistic analysis of any design instead (:mod:`analysis.stats.ustatistics`) and says so. The result is frozen, names
the conventions it follows, and says "not estimable, because …" wherever a number would have been NaN.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd

from analysis.stats.components import (
    COVARIANCES,
    CellComponents,
    Components,
    Floats,
    bootstrap_covariance,
    delong_covariance,
    jackknife_covariance,
    pairwise_covariance,
    unbiased_covariance,
)
from analysis.stats.foms import FIGURES_OF_MERIT, FigureOfMerit, figure_of_merit
from analysis.stats.obuchowski_rockette import (
    Conventions,
    Df,
    Random,
    Rounding,
    Truncation,
    VarianceComponents,
    variance_components,
)
from analysis.stats.options import check_bootstrap, check_level, check_margin, known, random_of
from analysis.stats.ratings import Ratings, RatingsError, name_of, read_ratings, sentence_list
from analysis.stats.results import (
    MULTIPLICITY,
    Cell,
    Comparison,
    Equivalence,
    Findings,
    Mean,
    Multiplicity,
    Noninferiority,
    PairMoments,
    ReaderDifference,
    Result,
    plain,
    reference_last,
    result_from,
)

__all__ = [
    "COVARIANCE_NAMES",
    "FIGURES_OF_MERIT",
    "Cell",
    "Comparison",
    "Equivalence",
    "Mean",
    "Noninferiority",
    "ReaderDifference",
    "Result",
    "analyze",
    "analyze_ratings",
    "one_class_cells",
    "plain",
    "result_from",
]

#: Every value of ``covariance``: those that a fully crossed study alone allows, then those of any design.
COVARIANCE_NAMES = (*COVARIANCES, "bootstrap", "pairwise", "ustat")
UstatDf = Literal["r", "java"]

_COVARIANCE_WORDS = {
    "delong": "DeLong covariances",
    "jackknife": "jackknife covariances",
    "unbiased": "unbiased U-statistic covariances",
    "pairwise": "pairwise DeLong covariances",
    "ustat": "U-statistic variances",
}


@dataclass(frozen=True)
class Options:
    """How :func:`analyze_ratings` goes about it; see :func:`analyze` for each."""

    covariance: str = "delong"
    random: Random = "readers_cases"
    margin: float | None = None
    reference: str | None = None
    alpha: float = 0.05
    follow: Conventions = dataclasses.field(default_factory=Conventions)
    equivalence: bool = False
    multiplicity: Multiplicity = "holm"
    replicates: int = 2000
    seed: int = 0
    ustat_df: UstatDf = "r"


def analyze(
    frame: pd.DataFrame,
    fom: str = "auc",
    covariance: str = "delong",
    random: str = "readers_cases",
    margin: float | None = None,
    *,
    threshold: float | None = None,
    fpr: tuple[float, float] | None = None,
    tpr: tuple[float, float] | None = None,
    standardise: str = "none",
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: str = "none",
    df: str = "hillis",
    df_rounding: str = "none",
    equivalence: bool = False,
    multiplicity: str = "holm",
    replicates: int = 2000,
    seed: int = 0,
    ustat_df: str = "r",
) -> Result:
    """Compare treatments (arms) over readers and cases.

    Args:
        frame: columns ``reader, treatment, case, truth, rating``; see :func:`analysis.stats.ratings.read_ratings`.
        fom: the figure of merit: "auc" (the empirical area under the ROC curve), "sensitivity" or "specificity" at a
            threshold, or "partial_auc"; see :func:`analysis.stats.foms.figure_of_merit`.
        covariance: "delong", "jackknife", "unbiased" or "bootstrap" for a study in which every reader rated every case
            under every treatment; "ustat", the U-statistic analysis of any design; "pairwise", the Obuchowski–Rockette
            analysis with each covariance over the cases that both cells share. Where ratings are missing one of the
            last two is taken, and the result says which and why.
        random: "readers_cases" (or "readers+cases"), "cases" or "readers": what the conclusion should hold for.
        margin: of non-inferiority, in units of the figure of merit, positive.
        threshold: for sensitivity and specificity: a rating at or above it calls a case positive.
        fpr: for a partial AUC: its range of false-positive fractions.
        tpr: for a partial AUC instead: its range of sensitivities.
        standardise: of a partial AUC: "none", "range" or "mcclish".
        reference: the treatment the others are compared with: each difference is then (other − reference), and
            non-inferiority is of the other to it. Without it the differences are (earlier − later) and non-inferiority
            is of the later treatment to the earlier.
        alpha: two-sided level of intervals; non-inferiority and equivalence are one-sided at alpha/2.
        truncation: "none" or "truncate"; see :class:`analysis.stats.obuchowski_rockette.Conventions`.
        df: "hillis" or "original"; see the same.
        df_rounding: "none", or "floor" as iMRMC's Java program rounds down; see the same.
        equivalence: test equivalence (TOST) with ``margin`` too.
        multiplicity: adjustment over more than one comparison: "holm", "bonferroni" or "none".
        replicates: number of bootstrap draws.
        seed: of the bootstrap.
        ustat_df: of the U-statistic analysis where treatments do not share readers or cases: "r" or "java"; see
            :func:`analysis.stats.ustatistics.analyse`.

    Raises:
        RatingsError: the table is faulty, or an argument names nothing known; one sentence.
    """
    known("fom", fom, FIGURES_OF_MERIT)
    known("covariance", covariance, COVARIANCE_NAMES)
    known("truncation", truncation, ("none", "truncate"))
    known("df", df, ("hillis", "original"))
    known("df_rounding", df_rounding, ("none", "floor"))
    known("multiplicity", multiplicity, MULTIPLICITY)
    known("ustat_df", ustat_df, ("r", "java"))
    law = random_of(random)
    check_margin(margin, equivalence=equivalence)
    check_level(alpha)
    check_bootstrap(replicates, seed)
    return analyze_ratings(
        read_ratings(frame),
        fom=figure_of_merit(fom, threshold=threshold, fpr=fpr, tpr=tpr, standardise=standardise),
        options=Options(
            covariance=covariance,
            random=law,
            margin=margin,
            reference=reference,
            alpha=alpha,
            follow=Conventions(cast(Truncation, truncation), cast(Df, df), cast(Rounding, df_rounding)),
            equivalence=equivalence,
            multiplicity=cast(Multiplicity, multiplicity),
            replicates=replicates,
            seed=seed,
            ustat_df=cast(UstatDf, ustat_df),
        ),
    )


def analyze_ratings(table: Ratings, *, fom: FigureOfMerit | None = None, options: Options | None = None) -> Result:
    """:func:`analyze` from arrays already in memory; by default the empirical AUC with DeLong's covariances.

    Raises:
        RatingsError: the reference is no treatment, or figure of merit, covariance and random do not go together.
    """
    fom, options = fom or figure_of_merit("auc"), options or Options()
    if options.reference is not None:
        order = reference_last(table.treatments, name_of(options.reference))
        table = dataclasses.replace(
            table,
            treatments=tuple(table.treatments[i] for i in order),
            scores=np.ascontiguousarray(table.scores[order]),
        )
    asked = options.covariance
    _goes_with(fom, asked, options.random)
    n1, n0 = int(table.truth.sum()), int((~table.truth).sum())
    one_class = one_class_cells(table, fom)
    table = _idle_filled(table, fom)
    missing = bool(np.isnan(table.scores).any())
    why = _why_no_class(fom, n1, n0)
    if one_class and not why:
        named = sentence_list([f"reader {reader} under {treatment}" for reader, treatment, _ in one_class])
        needs = "cases of both classes" if all(fom.informative) else f"{_needed(fom)} cases"
        why = f"not estimable, because the {fom.short} needs {needs}, which are not there for {named}"
    covariance, reasons = (asked, []) if why or not missing else _any_design(table, fom, options)
    if covariance == "ustat" and not why:
        return _by_ustatistics(table, fom, options, reasons)

    foms, errors = np.full(table.scores.shape[:2], np.nan), None
    if not (n1 == 0 and fom.informative[0]) and not (n0 == 0 and fom.informative[1]):
        # Every cell's own figure needs only that cell's ratings, so it is shown even where nothing can be compared.
        if missing or covariance == "pairwise":
            parts = _cell_components(table, fom)
            foms = parts.auc.reshape(foms.shape)
            why = why or _why_not_pairwise(table, fom, parts, missing)
            if not why:
                errors = pairwise_covariance(parts)
            if missing:
                reasons.append(f"Each reader's {fom.short} is over the cases that reader rated under that treatment.")
        else:
            positives, negatives = _flat(table)
            whole = fom.components(positives, negatives)
            foms = whole.auc.reshape(foms.shape)
            why = why or _why_no_variance(fom, n1, n0)
            if not why:
                errors = covariance_of(whole, fom, covariance, positives, negatives, options)
    return result_from(
        fom=fom.name,
        covariance=covariance,
        random=options.random,
        margin=options.margin,
        alpha=options.alpha,
        reference=options.reference,
        readers=table.readers,
        treatments=table.treatments,
        diseased=n1,
        nondiseased=n0,
        foms=foms,
        errors=errors,
        method_words=f"{fom.words}, {_covariance_words(covariance, options)}",
        conventions=(*fom.conventions, *_covariance_conventions(covariance, options)),
        warnings=reasons,
        why=why,
        follow=options.follow,
        equivalence=options.equivalence,
        multiplicity=options.multiplicity,
    )


def covariance_of(
    parts: Components, fom: FigureOfMerit, covariance: str, positives: Floats, negatives: Floats, options: Options
) -> Floats:
    """Error covariance ``[C, C]`` of figures of merit read on the same cases.

    Args:
        parts: their components.
        fom: the figure of merit.
        covariance: "delong", "jackknife", "unbiased" or "bootstrap".
        positives: ``[C, n1]``.
        negatives: ``[C, n0]``.
        options: holds the bootstrap's replicates and seed.
    """
    if covariance == "jackknife":
        return jackknife_covariance(parts)
    if covariance == "bootstrap":
        return bootstrap_covariance(
            parts, positives, negatives, fom.weighted, replicates=options.replicates, seed=options.seed
        )
    # With one class only the unbiased covariance is that of a mean, which DeLong's is.
    if covariance == "delong" or not all(fom.informative):
        return delong_covariance(parts)
    assert fom.kernel is not None
    return unbiased_covariance(parts, positives, negatives, fom.kernel)


def one_class_cells(table: Ratings, fom: FigureOfMerit | None = None) -> list[tuple[str, str, str]]:
    """Where a reader rated cases under a treatment, but none of a class the figure of merit needs.

    Returns:
        ``(reader, treatment, class that is absent)``, none where the whole table lacks the class.
    """
    informative = fom.informative if fom is not None else (True, True)
    rated = ~np.isnan(table.scores)
    anything = rated.any(axis=2)
    found = []
    for needed, members, word in zip(
        informative, (table.truth, ~table.truth), ("diseased", "non-diseased"), strict=True
    ):
        if needed and members.any():
            lacking = anything & ~rated[:, :, members].any(axis=2)
            found += [(table.readers[j], table.treatments[i], word) for i, j in np.argwhere(lacking)]
    return found


def _idle_filled(table: Ratings, fom: FigureOfMerit) -> Ratings:
    """Whether a case without a part in the figure of merit was rated makes no difference; it leaves no hole."""
    if all(fom.informative):
        return table
    scores = table.scores.copy()
    idle = ~table.truth if fom.informative[0] else table.truth
    scores[:, :, idle] = 0.0
    return dataclasses.replace(table, scores=scores)


def _goes_with(fom: FigureOfMerit, covariance: str, random: Random) -> None:
    if fom.kernel is None and covariance in ("unbiased", "ustat"):
        raise RatingsError(
            f"The {fom.short} is no U-statistic, so it has no {covariance} covariance; ask for delong, jackknife, "
            "bootstrap or pairwise."
        )
    if covariance == "ustat" and random != "readers_cases":
        raise RatingsError(
            "The U-statistic analysis takes readers and cases as random; ask for another where one is fixed."
        )


def _needed(fom: FigureOfMerit) -> str:
    return "diseased" if fom.informative[0] else "non-diseased"


def _why_no_class(fom: FigureOfMerit, n1: int, n0: int) -> str:
    for needed, n, word in zip(fom.informative, (n1, n0), ("diseased", "non-diseased"), strict=True):
        if needed and n == 0:
            needs = f"{'an' if fom.short == 'AUC' else 'a'} {fom.short} needs both classes"
            return f"not estimable, because no case is {word}" + (f": {needs}" if all(fom.informative) else "")
    return ""


def _why_no_variance(fom: FigureOfMerit, n1: int, n0: int) -> str:
    if all(n >= 2 for n, needed in zip((n1, n0), fom.informative, strict=True) if needed):
        return ""
    each = "two cases of each class" if all(fom.informative) else f"two {_needed(fom)} cases"
    return f"not estimable, because a variance over cases needs {each}; there are {n1} diseased and {n0} non-diseased"


def _any_design(table: Ratings, fom: FigureOfMerit, options: Options) -> tuple[str, list[str]]:
    """The covariance where ratings are missing, and why it is not the one asked for."""
    missing = table.missing
    named = sentence_list([f"reader {r} has no rating of case {c} under {t}" for r, t, c in missing], shown=3)
    lead = f"{len(missing)} of {table.scores.size} ratings are missing ({named})"
    if options.covariance in ("ustat", "pairwise"):
        return options.covariance, [f"{lead}; nothing is filled in."]
    if fom.kernel is not None and options.random == "readers_cases":
        instead = "so the U-statistic analysis of any design stands in for the Obuchowski–Rockette analysis"
        covariance = "ustat"
    else:
        instead = f"so covariances are pairwise, over the cases that two cells share, instead of {options.covariance}"
        covariance = "pairwise"
    return covariance, [f"{lead}, {instead}; that needs every reader to rate every case under every treatment."]


def _flat(table: Ratings) -> tuple[Floats, Floats]:
    cells = table.scores.shape[0] * table.scores.shape[1]
    return table.positives.reshape(cells, -1), table.negatives.reshape(cells, -1)


def _cell_components(table: Ratings, fom: FigureOfMerit) -> CellComponents:
    """Every cell's components over its own cases; NaN elsewhere."""
    positives, negatives = _flat(table)
    auc = np.full(len(positives), np.nan)
    v10, v01 = np.full(positives.shape, np.nan), np.full(negatives.shape, np.nan)
    for row in range(len(positives)):
        has1, has0 = ~np.isnan(positives[row]), ~np.isnan(negatives[row])
        if (fom.informative[0] and not has1.any()) or (fom.informative[1] and not has0.any()):
            continue
        own = fom.components(positives[row, has1][None], negatives[row, has0][None])
        auc[row], v10[row, has1], v01[row, has0] = own.auc[0], own.v10[0], own.v01[0]
    return CellComponents(auc, v10, v01, fom.informative)


def _why_not_pairwise(table: Ratings, fom: FigureOfMerit, parts: CellComponents, missing: bool) -> str:
    names = [f"reader {reader} under {treatment}" for treatment in table.treatments for reader in table.readers]
    empty = [name for name, value in zip(names, parts.auc, strict=True) if math.isnan(value)]
    if empty:
        return (
            f"not estimable, because the Obuchowski–Rockette analysis needs the {fom.short} of every reader under "
            f"every treatment, and there is none for {sentence_list(empty)}"
        )
    few = np.zeros(len(names), dtype=bool)
    for values, needed in zip((parts.v10, parts.v01), fom.informative, strict=True):
        few |= needed & ((~np.isnan(values)).sum(axis=1) < 2)
    if few.any():
        each = "two cases of each class" if all(fom.informative) else f"two {_needed(fom)} cases"
        lacking = sentence_list([name for name, lacks in zip(names, few, strict=True) if lacks])
        return f"not estimable, because a variance over cases needs {each}, which {lacking} did not rate"
    return ""


def _covariance_words(covariance: str, options: Options) -> str:
    if covariance == "bootstrap":
        return f"bootstrap covariances ({options.replicates} draws of cases, seed {options.seed})"
    return _COVARIANCE_WORDS[covariance]


def _covariance_conventions(covariance: str, options: Options) -> list[str]:
    if covariance == "bootstrap":
        return ["Bootstrap: cases are drawn again within each truth class, the same draw for every reader."]
    if covariance == "pairwise":
        return [
            "Pairwise covariances: over the cases that both cells share, after Zhou and Gatsonis (1996); not pooled."
        ]
    return []


def _by_ustatistics(table: Ratings, fom: FigureOfMerit, options: Options, reasons: list[str]) -> Result:
    """The result by U-statistics, which weigh every design."""
    from analysis.stats import ustatistics

    n1, n0 = int(table.truth.sum()), int((~table.truth).sum())
    if all(fom.informative):
        found = ustatistics.analyse(table, alpha=options.alpha, df=options.ustat_df)
    else:
        found = ustatistics.analyse_values(
            _calls(table, fom),
            readers=table.readers,
            treatments=table.treatments,
            quantity=fom.short,
            alpha=options.alpha,
            df=options.ustat_df,
        )
    names = table.treatments
    return result_from(
        fom=fom.name,
        covariance="ustat",
        random=options.random,
        margin=options.margin,
        alpha=options.alpha,
        reference=options.reference,
        readers=table.readers,
        treatments=names,
        diseased=n1,
        nondiseased=n0,
        foms=found.foms,
        errors=None,
        method_words=f"{fom.words}, {_COVARIANCE_WORDS['ustat']}"
        + (", because ratings are missing" if options.covariance != "ustat" else ""),
        conventions=(*fom.conventions[:1], *found.conventions),
        warnings=(*reasons, *found.warnings),
        equivalence=options.equivalence,
        multiplicity=options.multiplicity,
        findings=Findings(
            "U-statistics (any design)",
            found.means,
            found.differences,
            found.reader_differences,
            found.cells,
            laws={
                pair: ustatistics.law_df(one.df, options.ustat_df)
                for pair, one in found.differences.items()
                if one.df is not None
            },
            components=_crossed_components(table, fom) if found.fully_crossed else None,
            moments=tuple(
                PairMoments((names[i], names[k]), found.covariances[i, k], m.unbiased, m.biased, m.coefficients)
                for (i, k), m in found.moments.items()
            ),
        ),
    )


def _calls(table: Ratings, fom: FigureOfMerit) -> Floats:
    """Whether each needed case was called rightly, ``[I, J, n]``; NaN where it was not rated."""
    parts = _cell_components(table, fom)
    own = parts.v10 if fom.informative[0] else parts.v01
    return own.reshape(*table.scores.shape[:2], -1)


def _crossed_components(table: Ratings, fom: FigureOfMerit) -> VarianceComponents | None:
    positives, negatives = _flat(table)
    if _why_no_variance(fom, positives.shape[1], negatives.shape[1]):
        return None
    parts = fom.components(positives, negatives)
    errors = covariance_of(parts, fom, "unbiased", positives, negatives, Options())
    return variance_components(parts.auc.reshape(table.scores.shape[:2]), errors)
