"""What an analysis of a reader study gives back, whatever its figure of merit and its method.

:func:`result_from` makes the one :class:`Result` from figures of merit and their error covariance, or from an analysis
that was made otherwise. The result is frozen, names the conventions it follows, and says "not estimable, because …"
wherever a number would have been NaN.

Sources: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15:657 (1987) for equivalence by two one-sided
tests; Holm, Scandinavian Journal of Statistics 6:65 (1979).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from analysis.stats.components import Floats
from analysis.stats.laws import t_above, t_critical
from analysis.stats.multiplicity import bonferroni, holm
from analysis.stats.obuchowski_rockette import (
    Conventions,
    DbmComponents,
    Interval,
    Omnibus,
    Random,
    Truncation,
    VarianceComponents,
    analyse,
    dbm_components,
)
from analysis.stats.ratings import RatingsError, name_of, sentence_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Multiplicity = Literal["holm", "bonferroni", "none"]
MULTIPLICITY: tuple[Multiplicity, ...] = ("holm", "bonferroni", "none")

RANDOM_WORDS = {
    "readers_cases": "readers and cases random",
    "cases": "cases random, readers fixed",
    "readers": "readers random, cases fixed",
}


@dataclass(frozen=True)
class Cell:
    """One reader's figure of merit under one treatment, with its standard error over cases; None where not estimable.

    ``auc`` holds the figure of merit, whichever it is.
    """

    treatment: str
    reader: str
    auc: float | None
    se: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Mean:
    """The readers' average figure of merit under one treatment."""

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
class Equivalence:
    """Two one-sided tests (TOST) that two treatments differ by less than ``margin`` either way.

    ``statistic_lower`` tests that the difference is above −margin, ``statistic_upper`` that it is below margin;
    ``p`` is the larger of their one-sided p-values. Shown where the (1 − alpha) interval lies within ±margin: each test
    is then at alpha/2, the level of the non-inferiority test.
    """

    margin: float
    statistic_lower: float | None
    statistic_upper: float | None
    df: float | None
    p: float | None
    ci: tuple[float, float] | None
    shown: bool | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two treatments: the difference of reader-averaged figures of merit, first minus second.

    ``p_adjusted`` is adjusted over all comparisons of the result as its ``multiplicity`` says, and stands only where
    there is more than one; ``p_holm`` is Holm's, whichever was chosen. Intervals are not adjusted.
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
    p_adjusted: float | None = None
    equivalence: Equivalence | None = None


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
class PairMoments:
    """U-statistic second moments of two treatments (or one with itself) and the covariance of their averages.

    Coefficients times unbiased moments give the covariance. A moment that the design cannot show is None.
    """

    treatments: tuple[str, str]
    covariance: float | None
    unbiased: tuple[float | None, ...]
    biased: tuple[float | None, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Findings:
    """An analysis that was not made from an error covariance of a fully crossed study.

    Attributes:
        name: as ``method`` begins with it.
        means: one per treatment.
        differences: by the pair (i, k), mean A[i] − A[k].
        reader_differences: by the pair, one per reader.
        cells: ``[I][J]``.
        laws: by the pair, the degrees of freedom that the intervals were taken at, where these are rounded.
        components: variance components where the design shows them.
        moments: of the treatments and their pairs.
    """

    name: str
    means: Sequence[Interval]
    differences: Mapping[tuple[int, int], Interval]
    reader_differences: Mapping[tuple[int, int], Sequence[Interval]]
    cells: Sequence[Sequence[Interval]]
    laws: Mapping[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    components: VarianceComponents | None = None
    moments: tuple[PairMoments, ...] = ()


@dataclass(frozen=True)
class Result:
    """A multi-reader multi-case result.

    ``not_estimable`` is empty unless the whole comparison could not be made. Numbers that could not be estimated are
    None and the entry that holds them says why; no field is ever NaN. ``df`` is inf where a normal law is used. ``auc``
    holds the figures of merit, whichever ``fom`` names.
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
    multiplicity: str = "holm"
    dbm: DbmComponents | None = None
    moments: tuple[PairMoments, ...] = ()

    @property
    def fom_values(self) -> Mapping[str, Mapping[str, float | None]]:
        """The figures of merit, treatment by reader; the same as ``auc`` under a name that fits every one of them."""
        return self.auc

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, fit for JSON; an infinite df becomes "infinite"."""
        found: dict[str, Any] = plain({**dataclasses.asdict(self), "fom_values": self.auc})
        for kind in ("cells", "means", "reader_differences"):  # as comparisons have theirs
            for one in found[kind]:
                one["ci"] = None if one["lower"] is None else [one["lower"], one["upper"]]
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row per estimate: ``kind`` (the figure of merit, mean, difference, reader difference), names, numbers."""
        rows: list[dict[str, Any]] = []
        for cell in self.cells:
            rows.append(
                _row(self.fom, cell.treatment, cell.reader, cell.auc, cell.se, None, cell.lower, cell.upper, None, cell)
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

    def plot_forest(self, pair: tuple[str, str] | None = None) -> Figure:
        """Every reader's change and the mean difference with intervals; see :func:`analysis.stats.plots.forest`.

        Args:
            pair: two treatments as one of the comparisons names them.
        """
        from analysis.stats import plots

        return plots.forest(self, pair)

    def plot_means(self) -> Figure:
        """The treatments' means with intervals; see :func:`analysis.stats.plots.means`."""
        from analysis.stats import plots

        return plots.means(self)


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
    follow: Conventions | None = None,
    equivalence: bool = False,
    multiplicity: Multiplicity = "holm",
    why_cells: Mapping[tuple[int, int], str] | None = None,
    findings: Findings | None = None,
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
        margin: of non-inferiority, and of equivalence where asked for, in units of the figure of merit.
        alpha: two-sided level.
        reference: as in :func:`analysis.stats.analyze`; treatments are put in its order here.
        conventions: said before those of the Obuchowski–Rockette analysis.
        warnings: said after those of the design.
        why: why nothing can be compared, beginning "not estimable, because"; needed when ``errors`` is None and there
            are no ``findings``.
        truncation: see :class:`analysis.stats.obuchowski_rockette.Conventions`.
        follow: which way to go where programs differ, in full; ``truncation`` otherwise.
        equivalence: test equivalence too, with the same margin.
        multiplicity: adjustment of the p-values of more than one comparison.
        why_cells: by the pair (treatment, reader), why that cell has no figure of merit.
        findings: an analysis made otherwise, in the order of ``treatments``; ``reference`` must be the last of them
            then.

    Raises:
        RatingsError: ``reference`` is no treatment.
    """
    readers, treatments = tuple(readers), tuple(treatments)
    if errors is None and findings is None and not why:
        raise ValueError("A result without a covariance must say why it has none.")
    why_cells = dict(why_cells or {})
    if reference is not None:
        order = reference_last(treatments, name_of(reference))
        if findings is not None and order != sorted(order):
            raise ValueError("An analysis made otherwise must have the reference as its last treatment.")
        treatments = tuple(treatments[i] for i in order)
        foms = foms[order]
        why_cells = {(order.index(i), j): said for (i, j), said in why_cells.items()}
        if errors is not None:
            places = (np.array(order)[:, None] * len(readers) + np.arange(len(readers))).ravel()
            errors = errors[np.ix_(places, places)]
    follow = follow or Conventions(truncation=truncation)
    said = _design_warnings(len(treatments), random) + list(warnings)
    found, dbm, omnibus, parts = findings or _without_variance(foms, why), None, None, None
    if findings is None and errors is not None:
        made = analyse(foms, errors, random=random, alpha=alpha, conventions=follow)
        omnibus, parts = made.omnibus, made.components
        dbm = dbm_components(
            parts, treatments=len(treatments), readers=len(readers), cases=max(diseased + nondiseased, 1)
        )
        found = Findings(
            "Obuchowski–Rockette", made.means, made.differences, made.reader_differences, (), components=parts
        )
    if findings is not None:
        parts = findings.components
        cells = _cells_of(treatments, readers, findings)
    else:
        whole = why if diseased == 0 or nondiseased == 0 else ""
        cells = _cells(treatments, readers, foms, errors, alpha, whole, why, why_cells)
    perfect = [f"{cell.reader} under {cell.treatment}" for cell in cells if cell.auc in (0.0, 1.0) and cell.se is None]
    if perfect:
        said.append(
            f"{'An AUC' if fom == 'auc' else 'A figure of merit'} of exactly 0 or 1 has zero estimated variance over "
            f"cases: {sentence_list(perfect)}; the standard errors are too small."
        )

    kept = list(conventions)
    if findings is None:
        kept += _conventions(random, follow, len(treatments))
    kept += _comparison_conventions(len(treatments), margin, equivalence, multiplicity, shared=findings is None)
    analysis = "Obuchowski–Rockette" if findings is None else findings.name
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
        means=tuple(
            Mean(t, m.estimate, m.se, m.df, m.lower, m.upper, m.not_estimable)
            for t, m in zip(treatments, found.means, strict=True)
        ),
        comparisons=_comparisons(
            found,
            treatments,
            margin=margin,
            reference=reference,
            alpha=alpha,
            equivalence=equivalence,
            how=multiplicity,
        ),
        reader_differences=tuple(
            ReaderDifference(
                (treatments[i], treatments[k]), reader, d.estimate, d.se, d.lower, d.upper, d.not_estimable
            )
            for (i, k), changes in found.reader_differences.items()
            for reader, d in zip(readers, changes, strict=True)
        ),
        omnibus=omnibus,
        components=parts,
        method=f"{analysis}, {RANDOM_WORDS[random]}, {method_words}",
        conventions=tuple(kept),
        warnings=tuple(said),
        not_estimable=why,
        multiplicity=multiplicity,
        dbm=dbm,
        moments=findings.moments if findings is not None else (),
    )


def reference_last(treatments: Sequence[str], reference: str) -> list[int]:
    """The order of the treatments in which the reference comes last.

    Raises:
        RatingsError: there is no such treatment.
    """
    if reference not in treatments:
        raise RatingsError(f"The reference treatment {reference!r} is not among {', '.join(treatments)}.")
    order = [i for i, name in enumerate(treatments) if name != reference]
    return [*order, list(treatments).index(reference)]


def _design_warnings(treatments: int, random: Random) -> list[str]:
    said = []
    if treatments == 1:
        said.append("There is one treatment: its means are given and nothing can be compared.")
    return said + narrower(random)


def narrower(random: Random) -> list[str]:
    """What a reader of the result should know where not both readers and cases are random."""
    if random == "readers_cases":
        return []
    these = "these readers" if random == "cases" else "these cases"
    lead = f"With {RANDOM_WORDS[random]} the conclusion holds only for {these}."
    return [f"{lead} Where both vary, this analysis rejects too often."]


def _cells(
    treatments: Sequence[str],
    readers: Sequence[str],
    foms: Floats,
    errors: Floats | None,
    alpha: float,
    why_no_fom: str,
    why: str,
    why_cells: Mapping[tuple[int, int], str],
) -> tuple[Cell, ...]:
    z = t_critical(alpha)
    cells = []
    for i, treatment in enumerate(treatments):
        for j, reader in enumerate(readers):
            value = float(foms[i, j])
            if math.isnan(value):
                reason = (
                    why_cells.get((i, j))
                    or why_no_fom
                    or (
                        f"not estimable, because reader {reader} rated only one class of cases, or none, under "
                        f"{treatment}"
                    )
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


def _without_variance(foms: Floats, why: str) -> Findings:
    """The averages and differences of ``[I, J]`` figures of merit, with the reason why they have no intervals."""

    def shown(value: float) -> Interval:
        return Interval(_number(value), not_estimable=why)

    averages, pairs = foms.mean(axis=1), list(combinations(range(len(foms)), 2))
    return Findings(
        "Obuchowski–Rockette",
        [shown(average) for average in averages],
        {(i, k): shown(averages[i] - averages[k]) for i, k in pairs},
        {(i, k): [shown(change) for change in foms[i] - foms[k]] for i, k in pairs},
        (),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _cells_of(treatments: Sequence[str], readers: Sequence[str], findings: Findings) -> tuple[Cell, ...]:
    return tuple(
        Cell(treatment, reader, found.estimate, found.se, found.lower, found.upper, found.not_estimable)
        for treatment, row in zip(treatments, findings.cells, strict=True)
        for reader, found in zip(readers, row, strict=True)
    )


def _comparisons(
    found: Findings,
    treatments: Sequence[str],
    *,
    margin: float | None,
    reference: str | None,
    alpha: float,
    equivalence: bool,
    how: Multiplicity,
) -> tuple[Comparison, ...]:
    """Every pair of treatments, with p-values adjusted over all of them."""
    p_values = [one.p for one in found.differences.values()]
    made = []
    for (pair, one), by_holm, adjusted in zip(
        found.differences.items(), _adjusted(p_values, "holm"), _adjusted(p_values, how), strict=True
    ):
        names = (treatments[pair[0]], treatments[pair[1]])
        law_df = found.laws.get(pair)
        compared = _comparison(names, one, by_holm, margin, reference, alpha, equivalence=equivalence, law_df=law_df)
        made.append(dataclasses.replace(compared, p_adjusted=adjusted))
    return tuple(made)


def _comparison(
    names: tuple[str, str],
    found: Interval,
    adjusted: float | None,
    margin: float | None,
    reference: str | None,
    alpha: float,
    *,
    equivalence: bool = False,
    law_df: float | None = None,
) -> Comparison:
    """``law_df`` is what the interval's law was taken at, where that is not ``found.df`` itself."""
    noninferiority, equivalent = None, None
    if margin is not None:
        of, to, sign = (names[0], names[1], 1.0) if reference is not None else (names[1], names[0], -1.0)
        if found.se is None or found.df is None or found.estimate is None:
            noninferiority = Noninferiority(of, to, margin, None, None, None, None, None, found.not_estimable)
            equivalent = Equivalence(margin, None, None, None, None, None, None, found.not_estimable)
        else:
            taken = found.df if law_df is None else law_df
            half = t_critical(alpha, taken) * found.se
            change = sign * found.estimate
            statistic = (change + margin) / found.se
            lower = change - half
            noninferiority = Noninferiority(
                of, to, margin, statistic, found.df, t_above(statistic, taken), lower, lower > -margin
            )
            above, below = (found.estimate + margin) / found.se, (found.estimate - margin) / found.se
            ends = (found.estimate - half, found.estimate + half)
            equivalent = Equivalence(
                margin,
                above,
                below,
                found.df,
                max(t_above(above, taken), t_above(-below, taken)),
                ends,
                -margin < ends[0] and ends[1] < margin,
            )
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
        equivalence=equivalent if equivalence else None,
    )


def _adjusted(values: list[float | None], how: str) -> list[float | None]:
    """p-values adjusted over the family; None for a single comparison, and for what was not tested."""
    if len(values) < 2:
        return [None] * len(values)
    return holm(values) if how == "holm" else bonferroni(values) if how == "bonferroni" else list(values)


def _conventions(random: Random, follow: Conventions, treatments: int) -> list[str]:
    """What an Obuchowski–Rockette analysis follows where programs differ."""
    said = []
    if random == "readers_cases":
        said.append("Cov2 − Cov3 is truncated at zero, as RJafroc, the Iowa programs and MRMCaov do.")
        if follow.df == "original":
            said.append("Degrees of freedom (I − 1)(J − 1) as first published (1995), which are conservative.")
        elif follow.rounding == "floor":
            said.append("Degrees of freedom by Hillis (2007), rounded down as iMRMC's Java program does.")
        else:
            said.append("Degrees of freedom by Hillis (2007), not rounded (iMRMC's Java program rounds down).")
    elif random == "cases":
        said.append(
            "Cov2 − Cov3 is truncated at zero, as RJafroc and the Iowa programs do (MRMCaov does not)."
            if follow.truncation == "truncate"
            else "Cov2 − Cov3 is not truncated at zero, as MRMCaov does (RJafroc and the Iowa programs truncate)."
        )
        said.append("χ² and normal laws.")
    else:
        said.append("F and t laws on (I − 1)(J − 1) and, for one treatment, J − 1 degrees of freedom.")
    said.append("A treatment's own interval uses that treatment's mean square and covariances only.")
    said.append("Intervals are symmetric (Wald) and are not cut off at 0 or 1.")
    said.append("A single reader's interval is over cases for that reader alone (normal law).")
    return said


def _comparison_conventions(
    treatments: int, margin: float | None, equivalence: bool, multiplicity: str, *, shared: bool
) -> list[str]:
    said = []
    if treatments > 2:
        words = {
            "holm": "p_adjusted is Holm's over all pairs.",
            "bonferroni": "p_adjusted is Bonferroni's over all pairs, and p_holm Holm's.",
            "none": "p_adjusted is not adjusted, as asked; p_holm is Holm's over all pairs.",
        }[multiplicity]
        lead = "every pair shares one error term" if shared else "every pair has its own error term"
        said.append(f"With more than two treatments {lead}; {words} Intervals are not adjusted.")
    if margin is not None:
        tests = "Non-inferiority is tested" if not equivalence else "Non-inferiority and equivalence (TOST) are tested"
        said.append(f"{tests} one-sided at alpha/2: the bounds are those of the two-sided (1 − alpha) interval.")
    return said
