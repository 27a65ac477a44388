"""What readers' eyes did, compared between treatments: on findings, over the image, beside a model's own gaze.

What one read's eyes did is :mod:`capture.gaze`'s to measure. Here those measures become outcomes: a number per read, or
a ratio of sums over reads, whose mean under each treatment and whose differences have intervals for new readers and new
cases (:mod:`analysis.stats.means`). An outcome that no read has is "not estimable, because …".

Conventions
-----------
**Time to first fixation.** A finding that is never fixated has no such time. It is not left out, and its reading's end
is not taken for random censoring, since the reader chose to stop: the time counts as longer than any horizon τ. So
min(time, τ) is known of every finding, and its mean is the restricted mean time, the area up to τ under the share of
findings not yet fixated (1 − cumulative incidence). The share ever fixated stands beside it.

**Misses.** Search, recognition and decision errors (Kundel, Nodine & Carmody 1978) are shares of the misses that could
be classified, as a ratio of totals over readers.

**Scanpaths** are compared as shares of the image's width and height, so that images of any size have one frame;
fixations beside the image are left out. Similarity to a model's path on the same case stands beside chance, the same
read with the model's paths of other cases, and beside what two readers have with each other on the same case under the
same treatment.

**Pairs of readers.** The mean over all pairs is a U-statistic in readers: the interval takes each reader's jackknife
pseudo-value U + 2 (r − U)(J − 1)/(J − 2), with r the mean over the reader's own pairs and J readers of that case. With
the reader's plain mean r the standard error due to readers would be half of what it is.

**Centroids.** Duration-weighted mean position of a read, x and y apart; ICC(A,1), two-way random, absolute agreement,
of reader and model over cases, for each reader and treatment, with delete-one-case jackknife. (The GazeX paper,
arXiv 2604.14316, takes the centroids and maps of sentences' clusters; a stored trajectory does not name its sentences,
so here they are of whole reads.)

References
----------
- Royston & Parmar, "Restricted mean survival time" (BMC Medical Research Methodology 13:152, 2013); Andersen,
  "Decomposition of number of life years lost according to causes of death" (Statistics in Medicine 32:5278, 2013) for
  ends that compete.
- McGraw & Wong, "Forming inferences about some intraclass correlation coefficients" (Psychological Methods 1:30, 1996).
- Arvesen, "Jackknifing U-statistics" (Annals of Mathematical Statistics 40:2076, 1969); Efron & Stein, "The jackknife
  estimate of variance" (Annals of Statistics 9:586, 1981).
- The measures of scanpaths: :mod:`capture.gaze.scanpath`; of a read: :mod:`capture.gaze.radiology`.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.stats.means import compare_means, compare_ratios
from analysis.stats.mrmc import Result
from analysis.stats.ratings import RatingsError, name_of, sentence_list
from capture.gaze import saliency, scanpath

Floats = NDArray[np.float64]
Weighting = Literal["readers", "pooled"]
#: reader, treatment, case.
Key = tuple[str, str, str]

KEYS: Final = ("reader", "treatment", "case")
#: Seconds to which the time to first fixation is restricted.
HORIZON_S: Final = 10.0
KUNDEL: Final = ("search", "recognition", "decision")
#: Rows and columns of heat maps, and the SD of a fixation's Gaussian as a share of the image's sides.
SHAPE: Final = (32, 32)
SIGMA: Final = 0.06
#: Cases' paths are paired by chance with those of the cases this many places on.
SHIFTS: Final = (1, 2, 3, 5, 7)
#: Measure -> label, whether more is more alike.
SCANPATHS: Final[dict[str, tuple[str, bool]]] = {
    "scanmatch": ("ScanMatch", True),
    **{f"multimatch_{name}": (f"MultiMatch, {name}", True) for name in scanpath.DIMENSIONS},
    "dtw": ("dynamic time warping, mean distance in shares of the image's sides", False),
}
_FRAME: Final = 1000.0
_CENTROIDS: Final = (
    "One centroid a read: the duration-weighted mean position of its fixations on the image, as shares of its sides.",
    "ICC(A,1), two-way random, absolute agreement, over cases.",
)
_MAPS: Final = (
    f"One map a read: durations on {SHAPE[0]} × {SHAPE[1]} cells, Gaussians of σ {SIGMA:g} of the image's sides.",
    "A map is divided by its maximum and its logarithm taken, log1p(map + 10⁻⁶), before the cosine.",
)


@dataclass(frozen=True)
class How:
    """How treatments are compared: what the conclusion should hold for, two-sided level, the reference treatment."""

    random: str = "readers_cases"
    alpha: float = 0.05
    reference: str | None = None


@dataclass(frozen=True)
class Outcome:
    """One outcome, compared.

    Attributes:
        key, label, unit: its name in code, in words, and its unit ("" for a share or an index).
        reads: treatment → reads that enter.
        result: the comparison; None where nothing can be said.
        not_estimable: why ``result`` is None.
        conventions: what was decided, beside what the result says.
        values: the numbers per read that were compared, columns ``reader, treatment, case`` and ``value`` or
            ``numerator, denominator``; None where nothing was.
        weighting: of a ratio; empty for a mean.
    """

    key: str
    label: str
    unit: str
    reads: dict[str, int]
    result: Result | None = None
    not_estimable: str = ""
    conventions: tuple[str, ...] = field(default=())
    values: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    weighting: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; without the values per read."""
        return {
            "key": self.key,
            "label": self.label,
            "unit": self.unit,
            "reads": dict(self.reads),
            "result": None if self.result is None else self.result.to_dict(),
            "not_estimable": self.not_estimable,
            "conventions": list(self.conventions),
        }


def outcome_of_means(
    frame: pd.DataFrame,
    value: str,
    *,
    key: str,
    label: str,
    unit: str = "",
    how: How | None = None,
    conventions: Sequence[str] = (),
    nothing: str = "",
) -> Outcome:
    """The mean of a column, by treatment.

    Args:
        frame: columns ``reader, treatment, case`` and ``value``; rows whose value is missing do not enter, and are
            the difference between the outcome's ``reads`` and the reads made.
        nothing: what no read has, as the sentence "no read has …" goes on; ``label`` if omitted.
    """
    _has(frame, value)
    some = frame[frame[value].notna()] if len(frame) else frame
    return _outcome(
        some,
        lambda rows, options: compare_means(rows.rename(columns={value: key}), key, **options),
        key,
        label,
        unit,
        how,
        conventions,
        nothing,
        {value: "value"},
    )


def outcome_of_ratios(
    frame: pd.DataFrame,
    numerator: str,
    denominator: str,
    *,
    key: str,
    label: str,
    unit: str = "",
    weighting: Weighting = "readers",
    how: How | None = None,
    conventions: Sequence[str] = (),
    nothing: str = "",
) -> Outcome:
    """A ratio of two columns' sums, by treatment; reads with a denominator of 0 enter and add nothing."""
    _has(frame, numerator, denominator)
    some = frame if len(frame) and (frame[denominator] > 0).any() else frame[:0]
    found = _outcome(
        some,
        lambda rows, options: compare_ratios(
            rows, numerator=numerator, denominator=denominator, weighting=weighting, **options
        ),
        key,
        label,
        unit,
        how,
        conventions,
        nothing,
        {numerator: "numerator", denominator: "denominator"},
    )
    occasions = frame[frame[denominator] > 0] if len(frame) else frame
    return dataclasses.replace(found, reads=_counts(occasions), weighting=weighting)


def _has(frame: pd.DataFrame, *columns: str) -> None:
    absent = [name for name in (*KEYS, *columns) if name not in frame.columns] if len(frame) else []
    if absent:
        needed = ", ".join((*KEYS, *columns))
        raise RatingsError(f"The table lacks the column {', '.join(absent)}; it needs {needed}, one row per read.")
    for name in KEYS if len(frame) else ():
        empty = np.flatnonzero(frame[name].isna().to_numpy())
        if empty.size:
            raise RatingsError(f"Row {empty[0] + 1} has no {name}; give every row one.")


def _outcome(
    some: pd.DataFrame,
    compare: Callable[[pd.DataFrame, dict[str, Any]], Result],
    key: str,
    label: str,
    unit: str,
    how: How | None,
    conventions: Sequence[str],
    nothing: str,
    columns: Mapping[str, str],
) -> Outcome:
    """``columns``: those that were compared, with what they are called among an outcome's values."""
    chosen = how or How()
    out = Outcome(key, label, unit, _counts(some), conventions=tuple(conventions))
    if not len(some):
        return dataclasses.replace(out, not_estimable=f"not estimable, because no read has {nothing or label}")
    some, lone = _without_lone(some)
    options: dict[str, Any] = {"random": chosen.random, "alpha": chosen.alpha}
    there = {name_of(treatment) for treatment in some["treatment"]}
    if chosen.reference is not None and name_of(chosen.reference) in there:
        options["reference"] = chosen.reference
    result = compare(some, options)
    if lone:
        said = f"Left out, for a single read shows no variance over cases: {sentence_list(lone)}."
        result = dataclasses.replace(result, warnings=(*result.warnings, said))
    values = some[[*KEYS, *columns]].rename(columns=dict(columns)).reset_index(drop=True)
    return dataclasses.replace(out, result=result, reads=_counts(some), values=values)


def _without_lone(some: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without the readers of a single read under a treatment, who are named; as it is where that is all there are.

    Where recordings are missing such a reader would else leave the whole comparison without a variance.
    """
    reads = some.groupby(["reader", "treatment"])["case"].transform("size")
    if (reads > 1).all() or (reads == 1).all():
        return some, []
    alone = some[reads == 1]
    named = [
        f"reader {name_of(r)} under {name_of(t)}" for r, t in zip(alone["reader"], alone["treatment"], strict=True)
    ]
    return some[reads > 1], named


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    return {name_of(t): int(n) for t, n in frame.groupby("treatment").size().items()} if len(frame) else {}


def compare_figure(
    frame: pd.DataFrame,
    columns: Sequence[str],
    figure: Callable[[Floats], float | None],
    *,
    name: str,
    how: How | None = None,
    least: int = 3,
) -> Result | None:
    """Compare a figure that needs many cases at once (a correlation, an F1) between treatments.

    The figure is taken for each reader and treatment over that reader's cases. Each case's jackknife pseudo-value,
    shifted so that their mean is the figure itself, θ + (n − 1)(θ̄₋ − θ₋ₖ), is then a number per read, and
    :func:`analysis.stats.means.compare_means` does the rest; the covariance is the delete-one-case jackknife's.

    Args:
        frame: columns ``reader, treatment, case`` and ``columns``, one row per read.
        columns: what the figure is computed from.
        figure: rows [n, columns] → the figure; None where these rows have none.
        name: the figure's name in the result.
        least: a reader with fewer cases under a treatment has no figure there.

    Returns:
        The result, whose warnings name the readers without a figure under a treatment; None where nobody has one.
    """
    chosen = how or How()
    values, without = _figure_values(frame, columns, figure, least)
    if values.empty:
        return None
    options: dict[str, Any] = {"random": chosen.random, "alpha": chosen.alpha}
    if chosen.reference is not None and name_of(chosen.reference) in {name_of(t) for t in values["treatment"]}:
        options["reference"] = chosen.reference
    result = compare_means(values.rename(columns={"value": name}), name, **options)
    warnings = list(result.warnings)
    if without:
        warnings.append(f"No {name} for {sentence_list(without)}: too few cases, or values that do not vary.")
    return dataclasses.replace(
        result,
        warnings=tuple(warnings),
        conventions=(*result.conventions, f"{name} is each reader's own over cases; delete-one-case jackknife."),
    )


def figure_values(
    frame: pd.DataFrame, columns: Sequence[str], figure: Callable[[Floats], float | None], *, least: int = 3
) -> pd.DataFrame:
    """The numbers per read that :func:`compare_figure` compares: ``reader, treatment, case, value``."""
    return _figure_values(frame, columns, figure, least)[0]


def _figure_values(
    frame: pd.DataFrame, columns: Sequence[str], figure: Callable[[Floats], float | None], least: int
) -> tuple[pd.DataFrame, list[str]]:
    """The pseudo-values, and who has no figure."""
    _has(frame, *columns)
    rows: list[tuple[Any, ...]] = []
    without = []
    for (reader, treatment), own in frame.groupby(["reader", "treatment"], sort=False):
        values = own[list(columns)].to_numpy(dtype=np.float64)
        pseudo = _pseudo_values(values, figure) if len(own) >= max(least, 2) else None
        if pseudo is None:
            without.append(f"reader {name_of(reader)} under {name_of(treatment)} ({len(own)} cases)")
            continue
        rows += [(reader, treatment, case, value) for case, value in zip(own["case"], pseudo, strict=True)]
    return pd.DataFrame(rows, columns=[*KEYS, "value"]), without


def _pseudo_values(values: Floats, figure: Callable[[Floats], float | None]) -> Floats | None:
    whole = figure(values)
    left = [figure(np.delete(values, k, axis=0)) for k in range(len(values))]
    numbers = [v for v in (whole, *left) if v is not None and math.isfinite(v)]
    if len(numbers) != len(left) + 1:
        return None
    without = np.array(numbers[1:])
    return np.asarray(numbers[0] + (len(values) - 1) * (without.mean() - without))


# ── on findings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def finding_outcomes(
    reads: pd.DataFrame, findings: pd.DataFrame, *, horizon_s: float = HORIZON_S, how: How | None = None
) -> list[Outcome]:
    """How findings that are there were looked at, and why some were missed.

    Args:
        reads: columns ``reader, treatment, case``: every read with gaze, also those of cases without a finding.
        findings: one row per read and finding: ``reader, treatment, case``, ``looked`` (bool: how it was looked at is
            known), ``first_s`` (seconds to the first fixation, None or NaN if there was none), ``dwell_s``,
            ``revisits`` and ``kundel`` ("search", "recognition", "decision", or None).
        horizon_s: τ of the restricted mean time to first fixation, positive.

    Raises:
        RatingsError: a column is missing, a finding belongs to no read, a time is negative, or a class is unknown.
    """
    if not (isinstance(horizon_s, int | float) and horizon_s > 0 and math.isfinite(horizon_s)):
        raise RatingsError(f"horizon_s is {horizon_s!r}; it must be a positive number of seconds.")
    table = _per_read(reads, findings, horizon_s)
    nothing = "a finding whose place is known and fixations to look at it"
    horizon = f"{horizon_s:g}"
    counted = (
        f"A finding that was never fixated counts with {horizon} s, as does one fixated later: the mean of min(time, "
        f"{horizon} s), all findings included."
    )
    shown: list[tuple[str, str, str, str, str, tuple[str, ...]]] = [
        ("fixated_share", "share of findings fixated", "", "fixated", "looked", ()),
        (
            "time_to_first_fixation_s",
            f"time to first fixation, restricted to {horizon} s",
            "s",
            "restricted",
            "looked",
            (counted,),
        ),
        (
            "time_to_first_fixation_if_fixated_s",
            "time to first fixation of the findings that were fixated",
            "s",
            "first",
            "fixated",
            ("Findings never fixated are left out, so that treatments are compared on different findings.",),
        ),
        ("dwell_s", "dwell on a finding", "s", "dwell", "looked", ("A finding never fixated has a dwell of 0.",)),
        ("revisits", "revisits to a finding", "", "revisited", "looked", ("A finding never fixated has none.",)),
    ]
    out = [
        outcome_of_ratios(
            table, over, under, key=key, label=label, unit=unit, how=how, conventions=said, nothing=nothing
        )
        for key, label, unit, over, under, said in shown
    ]
    for kind in KUNDEL:
        out.append(
            outcome_of_ratios(
                table,
                kind,
                "missed",
                key=f"kundel_{kind}",
                label=f"{kind} errors, share of misses",
                weighting="pooled",
                how=how,
                nothing="a missed finding that could be classified",
                conventions=("Shares of the misses that have a class; those without one are counted apart.",),
            )
        )
    return out


def _per_read(reads: pd.DataFrame, findings: pd.DataFrame, horizon: float) -> pd.DataFrame:
    """Sums over each read's findings; a row for every read."""
    columns = ("looked", "fixated", "restricted", "first", "dwell", "revisited", "missed", *KUNDEL)
    sums: dict[Key, dict[str, float]] = {}
    for key in _keys(reads, "reads"):
        if key in sums:
            raise RatingsError(
                f"The read of case {key[2]} by reader {key[0]} under {key[1]} stands twice; keep one row."
            )
        sums[key] = dict.fromkeys(columns, 0.0)
    needed = ("looked", "first_s", "dwell_s", "revisits", "kundel")
    if len(findings) and (absent := [name for name in needed if name not in findings.columns]):
        raise RatingsError(f"The findings lack the column {', '.join(absent)}.")
    values = findings[list(needed)].itertuples(index=False) if len(findings) else ()
    for number, (key, row) in enumerate(zip(_keys(findings, "findings"), values, strict=True), start=1):
        if key not in sums:
            raise RatingsError(
                f"Row {number} of the findings (reader {key[0]}, treatment {key[1]}, case {key[2]}) is of no read."
            )
        own = sums[key]
        kundel = None if row.kundel is None or row.kundel != row.kundel else str(row.kundel)
        if kundel is not None:
            if kundel not in KUNDEL:
                raise RatingsError(f"Row {number} of the findings has the class {kundel!r}; it is {', '.join(KUNDEL)}.")
            own["missed"] += 1
            own[kundel] += 1
        if not row.looked:
            continue
        first = math.inf if row.first_s is None or row.first_s != row.first_s else float(row.first_s)
        if first < 0 or not float(row.dwell_s) >= 0 or not float(row.revisits) >= 0:
            raise RatingsError(f"Row {number} of the findings has a negative or missing time or count.")
        own["looked"] += 1
        own["restricted"] += min(first, horizon)
        own["dwell"] += float(row.dwell_s)
        own["revisited"] += float(row.revisits)
        if math.isfinite(first):
            own["fixated"] += 1
            own["first"] += first
    return pd.DataFrame(
        [dict(zip(KEYS, key, strict=True)) | own for key, own in sums.items()], columns=[*KEYS, *columns]
    )


def _keys(frame: pd.DataFrame, what: str) -> Iterable[Key]:
    if not len(frame):
        return []
    absent = [name for name in KEYS if name not in frame.columns]
    if absent:
        raise RatingsError(f"The {what} lack the column {', '.join(absent)}.")
    return [
        (name_of(r), name_of(t), name_of(c))
        for r, t, c in zip(frame["reader"], frame["treatment"], frame["case"], strict=True)
    ]


# ── scanpaths ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Look:
    """The fixations of one read.

    Attributes:
        reader, treatment, case: whose, under what, on what.
        path: x and y as shares of the image's width and height, 0 to 1, and duration in seconds, [K, 3]; see
            :func:`on_image`.
    """

    reader: str
    treatment: str
    case: str
    path: Floats

    @property
    def key(self) -> Key:
        return self.reader, self.treatment, self.case


def on_image(x: ArrayLike, y: ArrayLike, duration: ArrayLike, *, rows: int, columns: int) -> Floats:
    """Fixations in pixels (centres are whole numbers) as shares of the image, [K, 3]; those beside it are left out."""
    px, py, seconds = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (x, y, duration))
    if not len(px) == len(py) == len(seconds):
        raise RatingsError(
            f"x, y and duration have {len(px)}, {len(py)} and {len(seconds)} values; one each a fixation."
        )
    if rows < 1 or columns < 1:
        raise RatingsError(f"The image has {rows} × {columns} pixels; both must be positive.")
    u, v = (px + 0.5) / columns, (py + 0.5) / rows
    with np.errstate(invalid="ignore"):
        keep = (u >= 0) & (u < 1) & (v >= 0) & (v < 1) & (seconds > 0) & np.isfinite(seconds)
    return np.stack([u, v, seconds], axis=1)[keep]


def similarities(paths: Sequence[Floats], pairs: ArrayLike) -> dict[str, Floats]:
    """Every measure of :data:`SCANPATHS` for pairs of paths; NaN where a path has too few fixations for it.

    Args:
        paths: each [K, 3] as :func:`on_image` gives them.
        pairs: indices, [P, 2].
    """
    scaled = [
        np.asarray(path, dtype=np.float64).reshape(-1, 3) * (_FRAME, _FRAME, 1.0) - (0.5, 0.5, 0.0) for path in paths
    ]
    packed = scanpath.Paths.of(scaled)
    index = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    size = (_FRAME, _FRAME)
    many = scanpath.multimatch(packed, index, size=size)
    return {
        "scanmatch": scanpath.scanmatch(packed, index, size=size),
        **{f"multimatch_{name}": many[:, i] for i, name in enumerate(scanpath.DIMENSIONS)},
        "dtw": scanpath.dtw(packed, index, unit=size).mean,
    }


def to_model(looks: Sequence[Look], model: Mapping[str, Floats]) -> pd.DataFrame:
    """Each read's scanpath beside the model's on the same case, and beside the model's on other cases.

    Args:
        looks: the reads.
        model: case → the model's path, [K, 3] as :func:`on_image` gives it.

    Returns:
        ``reader, treatment, case``, a column for each measure of :data:`SCANPATHS`, and ``<measure>_chance``: the mean
        over the model's paths of the cases :data:`SHIFTS` places on (in order of their names). NaN where a measure is
        not defined; reads of cases without a path of the model have no row.
    """
    cases = sorted(model)
    place = {case: i for i, case in enumerate(cases)}
    used = [look for look in looks if look.case in place]
    paths = [*(look.path for look in used), *(model[case] for case in cases)]
    pairs, chance = [], []
    for i, look in enumerate(used):
        pairs.append((i, len(used) + place[look.case]))
        others = dict.fromkeys((place[look.case] + shift) % len(cases) for shift in SHIFTS)
        chance += [(i, len(used) + k) for k in others if k != place[look.case]]
    same, other = similarities(paths, pairs), similarities(paths, chance)
    whose = np.array([i for i, _ in chance], dtype=np.int64)
    table = pd.DataFrame([look.key for look in used], columns=list(KEYS))
    for name in SCANPATHS:
        table[name] = same[name]
        table[f"{name}_chance"] = _group_means(other[name], whose, len(used))
    return table


def _group_means(values: Floats, group: NDArray[np.int64], n: int) -> Floats:
    """The mean of the finite values of each group, NaN where there is none."""
    known = np.isfinite(values)
    total = np.bincount(group[known], values[known], minlength=n)
    count = np.bincount(group[known], minlength=n)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def reader_pairs(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Every two reads of one case under one treatment by different readers, as indices into ``looks``."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        groups[look.treatment, look.case].append(i)
    return [
        (a, b)
        for own in groups.values()
        for n, a in enumerate(own)
        for b in own[n + 1 :]
        if looks[a].reader != looks[b].reader
    ]


def pair_values(keys: Sequence[Key], pairs: Sequence[tuple[int, int]], values: ArrayLike) -> pd.DataFrame:
    """A number for each pair of readers as a number per read, whose mean is the mean over pairs and varies as it does.

    Args:
        keys: reader, treatment and case of each read.
        pairs: indices of two reads of the same case and treatment, every pair of those that have a value, [P, 2].
        values: a symmetric measure of each pair, [P]; NaN where it has none.

    Returns:
        ``reader, treatment, case, value, readers``: the pseudo-value of the module's notes, and how many readers of
        that case and treatment have pairs. Where they are two, the value is theirs and says nothing of how readers
        differ.
    """
    numbers = np.asarray(values, dtype=np.float64)
    grouped: dict[tuple[str, str], list[tuple[str, str, float]]] = defaultdict(list)
    for (a, b), value in zip(pairs, numbers, strict=True):
        if keys[a][1:] != keys[b][1:]:
            raise RatingsError(
                f"The reads {keys[a]} and {keys[b]} are of different cases or treatments; they make no pair."
            )
        if math.isfinite(value):
            grouped[keys[a][1:]].append((keys[a][0], keys[b][0], float(value)))
    rows = []
    for (treatment, case), found in grouped.items():
        own: dict[str, list[float]] = defaultdict(list)
        for first, second, value in found:
            own[first].append(value)
            own[second].append(value)
        n, whole = len(own), float(np.mean([value for _, _, value in found]))
        if len(found) != n * (n - 1) // 2:
            raise RatingsError(f"Case {case} under {treatment} lacks a pair of its {n} readers; give every pair once.")
        stretch = 2 * (n - 1) / (n - 2) if n > 2 else 0.0
        for reader, mine in own.items():
            rows.append((reader, treatment, case, whole + stretch * (float(np.mean(mine)) - whole), n))
    return pd.DataFrame(rows, columns=[*KEYS, "value", "readers"])


def pair_outcome(table: pd.DataFrame, *, key: str, label: str, how: How | None = None, nothing: str = "") -> Outcome:
    """The mean over pairs of readers, by treatment, from :func:`pair_values`."""
    chosen, said = how or How(), ["Mean over all pairs of readers of the same case under the same treatment."]
    if len(table) and int(table["readers"].max()) < 3:
        said.append("No case has three readers, so that how readers differ cannot be seen: it holds for these readers.")
        chosen = dataclasses.replace(chosen, random="cases")
    else:
        said.append("Each reader enters with a jackknife pseudo-value, since every pair is of two readers.")
    return outcome_of_means(
        table,
        "value",
        key=key,
        label=label,
        how=chosen,
        conventions=said,
        nothing=nothing or "another reader's read of the same case under the same treatment beside it",
    )


def similarity_outcomes(
    looks: Sequence[Look], model: Mapping[str, Floats], *, model_name: str = "the model", how: How | None = None
) -> list[Outcome]:
    """Scanpath similarity to the model, beside chance and beside pairs of readers.

    For each measure of :data:`SCANPATHS` four outcomes: ``<measure>_to_model``, ``…_chance``, ``…_above_chance`` (for a
    distance: below chance) and ``…_between_readers``. Arguments as in :func:`to_model`.
    """
    table = to_model(looks, model)
    pairs = reader_pairs(looks)
    between = similarities([look.path for look in looks], pairs)
    keys = [look.key for look in looks]
    nothing = f"enough fixations on the image and a trajectory of {model_name}"
    out = []
    for name, (label, alike) in SCANPATHS.items():
        sign = 1.0 if alike else -1.0
        table[f"{name}_above"] = sign * (table[name] - table[f"{name}_chance"])
        word = "above" if alike else "below"
        out += [
            outcome_of_means(
                table, name, key=f"{name}_to_model", label=f"{label}, to {model_name}'s path", how=how, nothing=nothing
            ),
            outcome_of_means(
                table,
                f"{name}_chance",
                key=f"{name}_chance",
                label=f"{label}, to {model_name}'s paths of other cases",
                how=how,
                nothing=f"{nothing} of another case",
            ),
            outcome_of_means(
                table,
                f"{name}_above",
                key=f"{name}_{word}_chance",
                label=f"{label}, {word} chance",
                how=how,
                nothing=f"{nothing} of another case",
            ),
            pair_outcome(
                pair_values(keys, pairs, between[name]),
                key=f"{name}_between_readers",
                label=f"{label}, between two readers",
                how=how,
            ),
        ]
    return out


# ── centroids and maps ────────────────────────────────────────────────────────────────────────────────────────────────


def centroid(path: Floats) -> tuple[float, float] | None:
    """Duration-weighted mean position, shares of the image; None without a fixation."""
    total = float(path[:, 2].sum())
    return (float(path[:, 0] @ path[:, 2]) / total, float(path[:, 1] @ path[:, 2]) / total) if total > 0 else None


def icc_agreement(ratings: Floats) -> float | None:
    """ICC(A,1): two-way random effects, absolute agreement, of a single rating (McGraw & Wong 1996, case 2A).

    The estimate of :func:`analysis.stats.agreement.icc`'s form (2,1) without its interval: the jackknife asks for it
    once for every read.

    Args:
        ratings: [subjects, raters], two of each at least.

    Returns:
        The point estimate, at most 1; None where the ratings do not vary.
    """
    n, k = ratings.shape
    if n < 2 or k < 2:
        return None
    whole, row, column = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    of_rows = k * float(((row - whole) ** 2).sum()) / (n - 1)
    of_columns = n * float(((column - whole) ** 2).sum()) / (k - 1)
    residual = float(((ratings - row[:, None] - column[None] + whole) ** 2).sum()) / ((n - 1) * (k - 1))
    below = of_rows + (k - 1) * residual + k * (of_columns - residual) / n
    return (of_rows - residual) / below if below > 1e-18 else None


def centroid_outcomes(
    looks: Sequence[Look], model: Mapping[str, Floats], *, model_name: str = "the model", how: How | None = None
) -> list[Outcome]:
    """ICC_X and ICC_Y of the reads' gaze centroids with the model's, by treatment; see the module's notes."""
    rows = []
    for look in looks:
        path = model.get(look.case)
        here, there = centroid(look.path), None if path is None else centroid(path)
        if here is not None and there is not None:
            rows.append((*look.key, here[0], there[0], here[1], there[1]))
    table = pd.DataFrame(rows, columns=[*KEYS, "x", "model_x", "y", "model_y"])
    out = []
    for axis in ("x", "y"):
        name = f"icc_{axis}"
        result = compare_figure(table, [axis, f"model_{axis}"], icc_agreement, name=name, how=how) if rows else None
        why = ""
        if result is None:
            why = (
                "not estimable, because no reader has three cases with gaze on the image and a trajectory of "
                f"{model_name}, at differing places"
            )
        out.append(
            Outcome(
                name,
                f"ICC of gaze centroids with {model_name}'s, {axis}",
                "",
                _counts(table),
                result,
                why,
                _CENTROIDS,
                None if result is None else figure_values(table, [axis, f"model_{axis}"], icc_agreement),
            )
        )
    return out


def density(path: Floats, *, shape: tuple[int, int] = SHAPE, sigma: float = SIGMA) -> Floats | None:
    """Where a read's fixations lie, weighted by duration and blurred by ``sigma`` of the image's sides, sum 1, [H, W].

    None without a fixation.
    """
    if not len(path):
        return None
    high, wide = shape
    # The map's own cells serve as pixels: the path is in shares, so that only the shape matters.
    return saliency.fixation_density(
        path[:, 0] * wide - 0.5,
        path[:, 1] * high - 0.5,
        rows=high,
        columns=wide,
        ppd_x=sigma * wide,
        ppd_y=sigma * high,
        weights=path[:, 2],
    )


def heat_map(
    paths: Iterable[Floats], *, shape: tuple[int, int] = SHAPE, sigma: float = SIGMA
) -> list[list[float]] | None:
    """A small heat map of one or more reads, for drawing: rows of values from 0 to 1, [H][W].

    Every read counts the same, however long: the mean of their densities, divided by its maximum, then log1p(map +
    10⁻⁶), divided by its maximum again (as the GazeX recipe scales its maps); three decimals. None without a fixation.
    """
    maps = [found for path in paths if (found := density(path, shape=shape, sigma=sigma)) is not None]
    if not maps:
        return None
    rows: list[list[float]] = np.round(_scaled(np.mean(maps, axis=0)), 3).tolist()
    return rows


def heat_map_of(
    x: ArrayLike,
    y: ArrayLike,
    duration: ArrayLike,
    *,
    rows: int,
    columns: int,
    shape: tuple[int, int] = SHAPE,
    sigma: float = SIGMA,
) -> list[list[float]] | None:
    """:func:`heat_map` of one read's fixations, given in image pixels and seconds."""
    return heat_map([on_image(x, y, duration, rows=rows, columns=columns)], shape=shape, sigma=sigma)


def _scaled(found: Floats) -> Floats:
    raised = np.log1p(found / found.max() + 1e-6)
    return np.asarray(raised / raised.max())


def cosine(a: Floats, b: Floats) -> float:
    """Cosine of the angle between two maps that are nowhere negative and somewhere positive, 0 to 1."""
    return float(np.clip((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)), 0.0, 1.0))


def map_outcomes(
    looks: Sequence[Look], model: Mapping[str, Floats], *, model_name: str = "the model", how: How | None = None
) -> list[Outcome]:
    """Cosine similarity of the reads' heat maps: to the model's, to its maps of all other cases, between readers."""
    cases = sorted(model)
    theirs = {case: found for case in cases if (found := density(model[case])) is not None}
    unit = {case: _unit(found) for case, found in theirs.items()}
    mine: list[Floats | None] = [None if (found := density(look.path)) is None else _unit(found) for look in looks]
    names = list(unit)
    stack = np.array([unit[case].ravel() for case in names]).reshape(len(names), SHAPE[0] * SHAPE[1])
    rows: list[tuple[Any, ...]] = []
    for look, own in zip(looks, mine, strict=True):
        if own is None or look.case not in unit:
            continue
        every = np.clip(stack @ own.ravel(), 0.0, 1.0)
        here = names.index(look.case)
        others = np.delete(every, here)
        rows.append((*look.key, float(every[here]), float(others.mean()) if len(others) else None))
    table = pd.DataFrame(rows, columns=[*KEYS, "same", "chance"])
    table["chance"] = table["chance"].astype(float)
    table["above"] = table["same"].astype(float) - table["chance"]
    pairs = [(a, b) for a, b in reader_pairs(looks) if mine[a] is not None and mine[b] is not None]
    between = [float(np.clip((mine[a] * mine[b]).sum(), 0.0, 1.0)) for a, b in pairs]  # type: ignore[operator]
    nothing = f"a fixation on the image and a trajectory of {model_name}"
    return [
        outcome_of_means(
            table,
            "same",
            key="map_cosine_to_model",
            label=f"cosine of heat maps, to {model_name}'s",
            how=how,
            conventions=_MAPS,
            nothing=nothing,
        ),
        outcome_of_means(
            table,
            "chance",
            key="map_cosine_chance",
            label=f"cosine of heat maps, to {model_name}'s of other cases",
            how=how,
            conventions=_MAPS,
            nothing=f"{nothing} of another case",
        ),
        outcome_of_means(
            table,
            "above",
            key="map_cosine_above_chance",
            label="cosine of heat maps, above chance",
            how=how,
            conventions=_MAPS,
            nothing=f"{nothing} of another case",
        ),
        pair_outcome(
            pair_values([look.key for look in looks], pairs, between),
            key="map_cosine_between_readers",
            label="cosine of heat maps, between two readers",
            how=how,
        ),
    ]


def _unit(found: Floats) -> Floats:
    raised = _scaled(found)
    return np.asarray(raised / np.linalg.norm(raised))
