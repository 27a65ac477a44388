"""One call from a ratings table to a multi-reader multi-case result.

:func:`analyze` checks the table (:mod:`analysis.stats.ratings`), computes every AUC with its covariances
(:mod:`analysis.stats.components`) and runs the Obuchowski–Rockette analysis
(:mod:`analysis.stats.obuchowski_rockette`). The result is frozen, names the conventions it follows, and says
"not estimable, because …" wherever a number would have been NaN.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats.components import COVARIANCES, Floats, components
from analysis.stats.obuchowski_rockette import (
    RANDOM,
    Interval,
    Omnibus,
    Random,
    Truncation,
    VarianceComponents,
    analyse,
)
from analysis.stats.ratings import Ratings, RatingsError, name_of, read_ratings, sentence_list

FIGURES_OF_MERIT = ("auc",)

_RANDOM_WORDS = {
    "readers_cases": "readers and cases random",
    "cases": "cases random, readers fixed",
    "readers": "readers random, cases fixed",
}
_COVARIANCE_WORDS = {
    "delong": "DeLong covariances",
    "jackknife": "jackknife covariances",
    "unbiased": "unbiased U-statistic covariances",
}


@dataclass(frozen=True)
class Cell:
    """One reader's AUC under one treatment, with its standard error over cases; None where not estimable."""

    treatment: str
    reader: str
    auc: float | None
    se: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Mean:
    """The readers' average AUC under one treatment."""

    treatment: str
    estimate: float | None
    se: float | None
    df: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Noninferiority:
    """The one-sided test that ``of`` is worse than ``to`` by less than ``margin``; ``lower`` bounds of − to."""

    of: str
    to: str
    margin: float
    statistic: float | None
    df: float | None
    p: float | None
    lower: float | None
    shown: bool | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two treatments: the difference of reader-averaged AUCs, first minus second.

    ``p_holm`` is Holm's adjustment over all comparisons of the result and stands only where there is more than one.
    """

    treatments: tuple[str, str]
    difference: float | None
    se: float | None
    df: float | None
    ci: tuple[float, float] | None
    statistic: float | None
    p: float | None
    p_holm: float | None = None
    noninferiority: Noninferiority | None = None
    not_estimable: str = ""


@dataclass(frozen=True)
class ReaderDifference:
    """One reader's own change between two treatments, with the interval over cases for that reader alone."""

    treatments: tuple[str, str]
    reader: str
    difference: float | None
    se: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Result:
    """A multi-reader multi-case result.

    ``not_estimable`` is empty unless the whole comparison could not be made. Numbers that could not be estimated are
    None and the entry that holds them says why; no field is ever NaN. ``df`` is inf where a normal law is used.
    """

    fom: str
    covariance: str
    random: str
    alpha: float
    margin: float | None
    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    diseased: int
    nondiseased: int
    auc: Mapping[str, Mapping[str, float | None]]
    cells: tuple[Cell, ...]
    means: tuple[Mean, ...]
    comparisons: tuple[Comparison, ...]
    reader_differences: tuple[ReaderDifference, ...]
    omnibus: Omnibus | None
    components: VarianceComponents | None
    method: str
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, fit for JSON; an infinite df becomes "infinite"."""
        return plain(dataclasses.asdict(self))

    def to_frame(self) -> pd.DataFrame:
        """One row per estimate: ``kind`` (auc, mean, difference, reader difference), treatment, reader, numbers."""
        rows: list[dict[str, Any]] = []
        for cell in self.cells:
            rows.append(
                _row("auc", cell.treatment, cell.reader, cell.auc, cell.se, None, cell.lower, cell.upper, None, cell)
            )
        for mean in self.means:
            rows.append(
                _row("mean", mean.treatment, "", mean.estimate, mean.se, mean.df, mean.lower, mean.upper, None, mean)
            )
        for found in self.comparisons:
            lower, upper = found.ci or (None, None)
            pair = " − ".join(found.treatments)
            rows.append(
                _row("difference", pair, "", found.difference, found.se, found.df, lower, upper, found.p, found)
            )
        for own in self.reader_differences:
            pair = " − ".join(own.treatments)
            rows.append(
                _row(
                    "reader difference", pair, own.reader, own.difference, own.se, None, own.lower, own.upper, None, own
                )
            )
        table = pd.DataFrame(rows)
        return table.astype(object).where(table.notna(), None)


def _row(
    kind: str,
    treatment: str,
    reader: str,
    estimate: float | None,
    se: float | None,
    df: float | None,
    lower: float | None,
    upper: float | None,
    p: float | None,
    source: Any,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "treatment": treatment,
        "reader": reader,
        "estimate": estimate,
        "se": se,
        "df": df,
        "lower": lower,
        "upper": upper,
        "p": p,
        "not_estimable": source.not_estimable,
    }


def plain(value: Any) -> Any:
    """``value`` as JSON can carry it.

    Raises:
        ValueError: a NaN is among the numbers. That is a defect of the code that made it, never an answer.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("A NaN reached a result; it must have been 'not estimable' with a reason.")
        if math.isinf(value):
            return "infinite" if value > 0 else "-infinite"
    return value


def analyze(
    frame: pd.DataFrame,
    fom: str = "auc",
    covariance: str = "delong",
    random: str = "readers_cases",
    margin: float | None = None,
    *,
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: Truncation = "none",
) -> Result:
    """Compare treatments (arms) over readers and cases.

    Args:
        frame: columns ``reader, treatment, case, truth, rating``; see :func:`analysis.stats.ratings.read_ratings`.
        fom: the figure of merit; "auc" is the empirical area under the ROC curve.
        covariance: "delong", "jackknife" or "unbiased".
        random: "readers_cases", "cases" or "readers": what the conclusion should hold for.
        margin: non-inferiority margin in units of the figure of merit, positive.
        reference: the treatment the others are compared with: each difference is then (other − reference), and
            non-inferiority is of the other to it. Without it the differences are (earlier − later) and non-inferiority
            is of the later treatment to the earlier.
        alpha: two-sided level of intervals; the non-inferiority bound is one-sided at alpha/2.
        truncation: see :func:`analysis.stats.obuchowski_rockette.analyse`.

    Raises:
        RatingsError: the table is faulty, or an argument names nothing known; one sentence.
    """
    _known("fom", fom, FIGURES_OF_MERIT)
    _known("covariance", covariance, tuple(COVARIANCES))
    _known("random", random, RANDOM)
    _known("truncation", truncation, ("none", "truncate"))
    if margin is not None and not 0 < margin < 1:
        raise RatingsError(f"The non-inferiority margin is {margin}; it must be between 0 and 1, in units of AUC.")
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")
    return analyze_ratings(
        read_ratings(frame),
        covariance=covariance,
        random=random,  # type: ignore[arg-type]
        margin=margin,
        reference=reference,
        alpha=alpha,
        truncation=truncation,
    )


def analyze_ratings(
    table: Ratings,
    *,
    covariance: str = "delong",
    random: Random = "readers_cases",
    margin: float | None = None,
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: Truncation = "none",
) -> Result:
    """:func:`analyze` from arrays already in memory."""
    n_treatments, n_readers = table.scores.shape[:2]
    n1, n0 = int(table.truth.sum()), int((~table.truth).sum())
    if reference is not None:
        _reference_last(table.treatments, name_of(reference))
    warnings: list[str] = []
    why = ""
    if n1 == 0 or n0 == 0:
        word = "diseased" if n1 == 0 else "non-diseased"
        why = f"not estimable, because no case is {word}: an AUC needs both classes"
    missing = table.missing
    if missing and not why:
        named = sentence_list([f"reader {r} has no rating of case {c} under {t}" for r, t, c in missing])
        why = (
            "not estimable, because the Obuchowski–Rockette analysis needs every reader to rate every case under every "
            f"treatment, and {len(missing)} of {table.scores.size} ratings are missing: {named}"
        )

    foms = np.full((n_treatments, n_readers), np.nan)
    errors = None
    # Every cell's own AUC needs only that cell's ratings, so it is shown even where the comparison cannot be made.
    if not (n1 == 0 or n0 == 0):
        if missing:
            foms = _cell_by_cell(table)
            warnings.append("Each reader's AUC is over the cases that reader rated under that treatment.")
        else:
            positives = table.positives.reshape(n_treatments * n_readers, n1)
            negatives = table.negatives.reshape(n_treatments * n_readers, n0)
            parts = components(positives, negatives)
            foms = parts.auc.reshape(n_treatments, n_readers)
            if n1 < 2 or n0 < 2:
                why = (
                    "not estimable, because a variance over cases needs two cases of each class; "
                    f"there are {n1} diseased and {n0} non-diseased"
                )
            else:
                errors = COVARIANCES[covariance](parts, positives, negatives)
    return result_from(
        fom="auc",
        covariance=covariance,
        random=random,
        margin=margin,
        alpha=alpha,
        reference=reference,
        readers=table.readers,
        treatments=table.treatments,
        diseased=n1,
        nondiseased=n0,
        foms=foms,
        errors=errors,
        method_words=f"empirical AUC, {_COVARIANCE_WORDS[covariance]}",
        warnings=warnings,
        why=why,
        truncation=truncation,
    )


def result_from(
    *,
    fom: str,
    covariance: str,
    random: Random,
    readers: Sequence[str],
    treatments: Sequence[str],
    diseased: int,
    nondiseased: int,
    foms: Floats,
    errors: Floats | None,
    method_words: str,
    margin: float | None = None,
    alpha: float = 0.05,
    reference: str | None = None,
    conventions: Sequence[str] = (),
    warnings: Sequence[str] = (),
    why: str = "",
    truncation: Truncation = "none",
) -> Result:
    """The one result type from figures of merit and their error covariance, whatever they are figures of.

    Args:
        fom: the figure of merit's short name.
        covariance: the covariance estimator's short name.
        random: what the conclusion should hold for.
        readers: names of the J readers.
        treatments: names of the I treatments, in the order of ``foms``.
        diseased: number of diseased cases.
        nondiseased: number of non-diseased cases.
        foms: figures of merit, ``[I, J]``; NaN where a reader has none under a treatment.
        errors: their error covariance, ``[I·J, I·J]``, treatment-major; None where it is not estimable.
        method_words: figure of merit and covariance in words, as the result's ``method`` goes on after the analysis.
        margin: non-inferiority margin in units of the figure of merit.
        alpha: two-sided level.
        reference: as in :func:`analyze`; treatments are put in its order here.
        conventions: said before those of the Obuchowski–Rockette analysis.
        warnings: said after those of the design.
        why: why nothing can be compared, beginning "not estimable, because"; needed when ``errors`` is None.
        truncation: see :func:`analysis.stats.obuchowski_rockette.analyse`.

    Raises:
        RatingsError: ``reference`` is no treatment.
    """
    readers, treatments = tuple(readers), tuple(treatments)
    if errors is None and not why:
        raise ValueError("A result without a covariance must say why it has none.")
    if reference is not None:
        order = _reference_last(treatments, name_of(reference))
        treatments = tuple(treatments[i] for i in order)
        foms = foms[order]
        if errors is not None:
            places = (np.array(order)[:, None] * len(readers) + np.arange(len(readers))).ravel()
            errors = errors[np.ix_(places, places)]
    said = _design_warnings(len(treatments), random) + list(warnings)
    cells = _cells(treatments, readers, foms, errors, alpha, why if diseased == 0 or nondiseased == 0 else "", why)
    perfect = [f"{cell.reader} under {cell.treatment}" for cell in cells if cell.auc is not None and cell.auc in (0, 1)]
    if perfect:
        said.append(
            f"{'An AUC' if fom == 'auc' else 'A figure of merit'} of exactly 0 or 1 has zero estimated variance over "
            f"cases: {sentence_list(perfect)}; the standard errors are too small."
        )

    means: tuple[Mean, ...]
    comparisons: list[Comparison] = []
    own: list[ReaderDifference] = []
    omnibus, parts = None, None
    pairs = list(combinations(range(len(treatments)), 2))
    if errors is None:
        means = tuple(Mean(t, None, None, None, None, None, why) for t in treatments)
        for i, k in pairs:
            names = (treatments[i], treatments[k])
            comparisons.append(Comparison(names, None, None, None, None, None, None, not_estimable=why))
    else:
        found = analyse(foms, errors, random=random, alpha=alpha, truncation=truncation)
        omnibus, parts = found.omnibus, found.components
        means = tuple(
            Mean(t, m.estimate, m.se, m.df, m.lower, m.upper, m.not_estimable)
            for t, m in zip(treatments, found.means, strict=True)
        )
        holm = _holm([found.differences[pair].p for pair in pairs])
        for pair, adjusted in zip(pairs, holm, strict=True):
            names = (treatments[pair[0]], treatments[pair[1]])
            comparisons.append(_comparison(names, found.differences[pair], adjusted, margin, reference, alpha))
            for reader, change in zip(readers, found.reader_differences[pair], strict=True):
                own.append(
                    ReaderDifference(
                        names, reader, change.estimate, change.se, change.lower, change.upper, change.not_estimable
                    )
                )

    return Result(
        fom=fom,
        covariance=covariance,
        random=random,
        alpha=alpha,
        margin=margin,
        readers=readers,
        treatments=treatments,
        diseased=diseased,
        nondiseased=nondiseased,
        auc={t: {cell.reader: cell.auc for cell in cells if cell.treatment == t} for t in treatments},
        cells=cells,
        means=means,
        comparisons=tuple(comparisons),
        reader_differences=tuple(own),
        omnibus=omnibus,
        components=parts,
        method=f"Obuchowski–Rockette, {_RANDOM_WORDS[random]}, {method_words}",
        conventions=(*conventions, *_conventions(random, truncation, len(treatments))),
        warnings=tuple(said),
        not_estimable=why,
    )


def _known(argument: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise RatingsError(f"{argument} is {given!r}; it must be one of {', '.join(map(repr, allowed))}.")


def _reference_last(treatments: Sequence[str], reference: str) -> list[int]:
    """The order of the treatments in which the reference comes last."""
    if reference not in treatments:
        raise RatingsError(f"The reference treatment {reference!r} is not among {', '.join(treatments)}.")
    order = [i for i, name in enumerate(treatments) if name != reference]
    return [*order, list(treatments).index(reference)]


def _design_warnings(treatments: int, random: Random) -> list[str]:
    said = []
    if treatments == 1:
        said.append("There is one treatment: its means are given and nothing can be compared.")
    if random != "readers_cases":
        said.append(
            f"With {_RANDOM_WORDS[random]} the conclusion holds only for "
            + ("these readers." if random == "cases" else "these cases.")
            + " Where both vary, this analysis rejects too often."
        )
    return said


def _cell_by_cell(table: Ratings) -> Floats:
    foms = np.full(table.scores.shape[:2], np.nan)
    for i, j in np.ndindex(*foms.shape):
        rated = ~np.isnan(table.scores[i, j])
        positives = table.scores[i, j, rated & table.truth]
        negatives = table.scores[i, j, rated & ~table.truth]
        if positives.size and negatives.size:
            foms[i, j] = components(positives[None], negatives[None]).auc[0]
    return foms


def _cells(
    treatments: Sequence[str],
    readers: Sequence[str],
    foms: Floats,
    errors: Floats | None,
    alpha: float,
    why_no_fom: str,
    why: str,
) -> tuple[Cell, ...]:
    z = float(stats.norm.ppf(1 - alpha / 2))
    cells = []
    for i, treatment in enumerate(treatments):
        for j, reader in enumerate(readers):
            value = float(foms[i, j])
            if math.isnan(value):
                reason = why_no_fom or (
                    f"not estimable, because reader {reader} rated only one class of cases, or none, under {treatment}"
                )
                cells.append(Cell(treatment, reader, None, None, None, None, reason))
                continue
            position = i * len(readers) + j
            variance = 0.0 if errors is None else float(errors[position, position])
            if not variance > 1e-20:
                reason = (
                    why or "its standard error is not estimable, because its variance over cases is zero or negative"
                )
                cells.append(Cell(treatment, reader, value, None, None, None, reason))
                continue
            se = math.sqrt(variance)
            cells.append(Cell(treatment, reader, value, se, value - z * se, value + z * se))
    return tuple(cells)


def _comparison(
    names: tuple[str, str],
    found: Interval,
    adjusted: float | None,
    margin: float | None,
    reference: str | None,
    alpha: float,
) -> Comparison:
    noninferiority = None
    if margin is not None:
        of, to, sign = (names[0], names[1], 1.0) if reference is not None else (names[1], names[0], -1.0)
        if found.se is None or found.df is None or found.estimate is None:
            noninferiority = Noninferiority(of, to, margin, None, None, None, None, None, found.not_estimable)
        else:
            law = stats.norm if math.isinf(found.df) else stats.t(found.df)
            change = sign * found.estimate
            statistic = (change + margin) / found.se
            p = float(law.sf(statistic))
            lower = change - float(law.ppf(1 - alpha / 2)) * found.se
            noninferiority = Noninferiority(of, to, margin, statistic, found.df, p, lower, lower > -margin)
    ci = None if found.lower is None or found.upper is None else (found.lower, found.upper)
    return Comparison(
        names,
        found.estimate,
        found.se,
        found.df,
        ci,
        found.statistic,
        found.p,
        adjusted,
        noninferiority,
        found.not_estimable,
    )


def _holm(values: list[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 6:65, 1979); None for a single comparison."""
    known = [value for value in values if value is not None]
    if len(values) < 2 or len(known) != len(values):
        return [None] * len(values)
    order = np.argsort(known)
    adjusted: list[float | None] = [None] * len(known)
    running = 0.0
    for rank, position in enumerate(order):
        running = max(running, min(1.0, (len(known) - rank) * known[position]))
        adjusted[int(position)] = running
    return adjusted


def _conventions(random: Random, truncation: Truncation, treatments: int) -> tuple[str, ...]:
    said = []
    if random == "readers_cases":
        said.append("Cov2 − Cov3 is truncated at zero, as RJafroc, the Iowa programs and MRMCaov do.")
        said.append("Degrees of freedom by Hillis (2007), not rounded (iMRMC's Java program rounds down).")
    elif random == "cases":
        said.append(
            "Cov2 − Cov3 is truncated at zero, as RJafroc and the Iowa programs do (MRMCaov does not)."
            if truncation == "truncate"
            else "Cov2 − Cov3 is not truncated at zero, as MRMCaov does (RJafroc and the Iowa programs truncate)."
        )
        said.append("χ² and normal laws.")
    else:
        said.append("F and t laws on (I − 1)(J − 1) and, for one treatment, J − 1 degrees of freedom.")
    said.append("A treatment's own interval uses that treatment's mean square and covariances only.")
    said.append("Intervals are symmetric (Wald) and are not cut off at 0 or 1.")
    said.append("A single reader's interval is over cases for that reader alone (normal law).")
    if treatments > 2:
        said.append("With more than two treatments every pair shares one error term; p_holm adjusts over all pairs.")
    return tuple(said)
