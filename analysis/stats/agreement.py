"""Agreement between raters: intraclass correlations, kappas, Krippendorff's alpha, Gwet's AC, Bland–Altman limits.

Everywhere a unit is what is rated (a case, a lesion, a report) and a rater is who or what rates it. Intervals are over
units: they hold for new units rated by these raters. Coefficients are not comparable with each other: each corrects for
another idea of chance.

Sources: Shrout & Fleiss, Psychological Bulletin 86:420 (1979) and McGraw & Wong, Psychological Methods 1:30 (1996) for
the ICC; Cohen, Psychological Bulletin 70:213 (1968) and Fleiss, Cohen & Everitt, Psychological Bulletin 72:323 (1969)
for weighted kappa and its standard error; Fleiss, Psychological Bulletin 76:378 (1971); Krippendorff, Content Analysis
(3rd ed., 2013), ch. 12; Gwet, British Journal of Mathematical and Statistical Psychology 61:29 (2008) and Handbook of
Inter-Rater Reliability (4th ed., 2014) for AC1/AC2, missing ratings and standard errors; Bland & Altman, Statistical
Methods in Medical Research 8:135 (1999).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.mrmc import plain
from analysis.stats.ratings import in_order

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval", "ratio")
WEIGHTS = ("identity", "linear", "quadratic", "ordinal")
_NOTHING = 1e-14


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement.

    Attributes:
        coefficient: its name, with weights or level.
        estimate: 1 where all agree, 0 where they agree as often as chance would.
        se: standard error over units; None where the interval is a bootstrap's.
        lower, upper: interval over units. Not cut off below; a t interval may not pass 1 and is cut off there.
        observed, expected: agreement observed and agreement by chance (for Krippendorff's alpha: disagreements).
        units, raters: how many entered.
        method: how the interval was made.
        not_estimable: why there is no number, or no interval.
    """

    coefficient: str
    estimate: float | None
    se: float | None = None
    lower: float | None = None
    upper: float | None = None
    observed: float | None = None
    expected: float | None = None
    units: int = 0
    raters: int = 0
    method: str = ""
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


@dataclass(frozen=True)
class IntraclassCorrelation:
    """One form of the ICC with its F test of zero and interval; ``form`` is Shrout and Fleiss's "(2,1)" and so on."""

    form: str
    words: str
    estimate: float | None
    lower: float | None = None
    upper: float | None = None
    f: float | None = None
    df1: int | None = None
    df2: int | None = None
    p: float | None = None
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


@dataclass(frozen=True)
class Limits:
    """Bland–Altman limits of agreement of two measurements of the same units; differences are first − second."""

    n: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_ci: tuple[float, float]
    lower_ci: tuple[float, float]
    upper_ci: tuple[float, float]
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


_ICC_WORDS = {
    "(1,1)": "one-way random, single rating",
    "(2,1)": "two-way random, absolute agreement, single rating",
    "(3,1)": "two-way mixed, consistency, single rating",
    "(1,k)": "one-way random, mean of k ratings",
    "(2,k)": "two-way random, absolute agreement, mean of k ratings",
    "(3,k)": "two-way mixed, consistency, mean of k ratings",
}


def icc(scores: ArrayLike, *, alpha: float = 0.05) -> dict[str, IntraclassCorrelation]:
    """Intraclass correlations, the six forms of Shrout and Fleiss.

    Args:
        scores: ``[n, k]``, n units by k raters, every cell filled.
        alpha: two-sided level of the intervals.

    Returns:
        Keyed "(1,1)", "(2,1)", "(3,1)", "(1,k)", "(2,k)", "(3,k)". The intervals of (2,1) and (2,k) are McGraw and
        Wong's, with Satterthwaite's df; those of (·,k) are of the mean of k ratings.

    Raises:
        ValueError: a score is missing, or there are fewer than two units or raters.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 2:
        raise ValueError(f"An ICC needs two units and two raters at least; the scores have shape {x.shape}.")
    if not np.isfinite(x).all():
        unit, rater = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"Unit {unit + 1} has no finite score of rater {rater + 1}; an ICC needs every cell.")
    n, k = x.shape
    grand = x.mean()
    rows, columns = x.mean(axis=1), x.mean(axis=0)
    between = float(k * ((rows - grand) ** 2).sum() / (n - 1))
    within = float(((x - rows[:, None]) ** 2).sum() / (n * (k - 1)))
    raters = float(n * ((columns - grand) ** 2).sum() / (k - 1))
    residual = x - rows[:, None] - columns[None, :] + grand
    error = float((residual**2).sum() / ((n - 1) * (k - 1)))
    nothing = _NOTHING * max(float((x**2).mean()), 1e-300)

    found = {}
    for form in ("1", "3"):
        base, df2 = (within, n * (k - 1)) if form == "1" else (error, (n - 1) * (k - 1))
        found.update(_one_base(form, between, base, n, k, df2, alpha, nothing))
    found.update(_absolute(between, raters, error, n, k, alpha, nothing))
    return {form: found[form] for form in _ICC_WORDS}


def _no_icc(form: str) -> IntraclassCorrelation:
    why = "not estimable, because there is no variation within units to compare that between them with"
    return IntraclassCorrelation(form, _ICC_WORDS[form], None, not_estimable=why)


def _one_base(
    kind: str, between: float, base: float, n: int, k: int, df2: int, alpha: float, nothing: float
) -> dict[str, IntraclassCorrelation]:
    """ICC (1,·) or (3,·): everything follows from the ratio of two mean squares."""
    single, mean = f"({kind},1)", f"({kind},k)"
    if not base > nothing:
        return {single: _no_icc(single), mean: _no_icc(mean)}
    f, df1 = between / base, n - 1
    p = float(stats.f.sf(f, df1, df2))
    low = f / float(stats.f.ppf(1 - alpha / 2, df1, df2))
    high = f * float(stats.f.ppf(1 - alpha / 2, df2, df1))

    def single_of(ratio: float) -> float:
        return (ratio - 1) / (ratio + k - 1)

    found = {
        single: IntraclassCorrelation(
            single, _ICC_WORDS[single], single_of(f), single_of(low), single_of(high), f, df1, df2, p
        )
    }
    if f > 0:
        found[mean] = IntraclassCorrelation(
            mean, _ICC_WORDS[mean], 1 - 1 / f, 1 - 1 / low, 1 - 1 / high, f, df1, df2, p
        )
    else:
        why = "not estimable, because the units' means do not vary at all"
        found[mean] = IntraclassCorrelation(mean, _ICC_WORDS[mean], None, not_estimable=why)
    return found


def _absolute(
    between: float, raters: float, error: float, n: int, k: int, alpha: float, nothing: float
) -> dict[str, IntraclassCorrelation]:
    """ICC (2,1) and (2,k) with McGraw and Wong's intervals."""
    denominator = between + (k - 1) * error + k * (raters - error) / n
    if not error > nothing or not denominator > nothing:
        return {form: _no_icc(form) for form in ("(2,1)", "(2,k)")}
    single = (between - error) / denominator
    f, df1, df2 = between / error, n - 1, (n - 1) * (k - 1)
    p = float(stats.f.sf(f, df1, df2))
    lower, upper = _absolute_interval(single, between, raters, error, n, k, alpha)
    why = "" if lower is not None else "its interval is not estimable, because its degrees of freedom are too few"

    def stepped(r: float | None) -> float | None:
        return None if r is None or not 1 + (k - 1) * r > _NOTHING else k * r / (1 + (k - 1) * r)

    found = {"(2,1)": IntraclassCorrelation("(2,1)", _ICC_WORDS["(2,1)"], single, lower, upper, f, df1, df2, p, why)}
    mean = stepped(single)
    if mean is None:
        none = "not estimable, because the single rating's ICC is at its least value"
        found["(2,k)"] = IntraclassCorrelation("(2,k)", _ICC_WORDS["(2,k)"], None, not_estimable=none)
    else:
        below = stepped(lower)
        if below is None and not why:
            why = "its interval has no lower bound, because that of a single rating is at its least value"
        found["(2,k)"] = IntraclassCorrelation(
            "(2,k)", _ICC_WORDS["(2,k)"], mean, below, stepped(upper), f, df1, df2, p, why
        )
    return found


def _absolute_interval(
    single: float, between: float, raters: float, error: float, n: int, k: int, alpha: float
) -> tuple[float | None, float | None]:
    """McGraw and Wong's interval of ICC(2,1); (None, None) where its F quantiles have no value."""
    a = k * single / (n * (1 - single))
    b = 1 + k * single * (n - 1) / (n * (1 - single))
    spread = (a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    v = (a * raters + b * error) ** 2 / spread if spread > 0 else 0.0
    if not v > 0:
        return None, None
    low, high = float(stats.f.ppf(1 - alpha / 2, n - 1, v)), float(stats.f.ppf(1 - alpha / 2, v, n - 1))
    if math.isnan(low) or math.isnan(high) or math.isinf(high):
        return None, None
    rest = k * raters + (k * n - k - n) * error
    if math.isinf(low):
        lower = -n * error / rest if rest > 0 else None
    else:
        lower = n * (between - low * error) / (low * rest + n * between)
    if lower is None or not rest + n * high * between > 0:
        return None, None
    return lower, n * (high * between - error) / (rest + n * high * between)


def weight_matrix(weights: str | ArrayLike, categories: Sequence[Hashable]) -> Floats:
    """How much two categories agree, ``[q, q]``: 1 on the diagonal, 0 for the farthest apart.

    "linear" and "quadratic" go by the categories' values where all are numbers, else by their places; "ordinal" by
    places (Gwet 2014, ch. 3): 1 − C(|i−j|+1, 2)/C(q, 2).

    Raises:
        ValueError: the name is unknown, or a given matrix is not a symmetric ``[q, q]`` with ones on its diagonal.
    """
    q = len(categories)
    if not isinstance(weights, str):
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (q, q) or not np.allclose(given, given.T) or not np.allclose(np.diag(given), 1):
            raise ValueError(f"The weights must be a symmetric {q} × {q} matrix with ones on its diagonal.")
        return given
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {weights!r}; it must be one of {', '.join(map(repr, WEIGHTS))}, or a matrix.")
    if weights == "identity" or q < 2:
        return np.eye(q)
    places = np.arange(q, dtype=np.float64)
    if weights == "ordinal":
        distance = np.abs(places[:, None] - places[None, :])
        return 1 - distance * (distance + 1) / (q * (q - 1))
    values = _values(categories)
    places = places if values is None else values
    share = np.abs(places[:, None] - places[None, :]) / (places.max() - places.min())
    return 1 - (share if weights == "linear" else share**2)


def _values(categories: Sequence[Hashable]) -> Floats | None:
    """The categories as numbers, None where one is none."""
    try:
        values = np.array([float(str(category)) for category in categories])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _counts(
    ratings: Sequence[Sequence[Hashable | None]] | NDArray[Any], categories: Sequence[Hashable] | None
) -> tuple[Floats, list[Hashable], int]:
    """How many raters put each unit into each category, ``[n, q]``; the categories; how many raters there are.

    A unit without any rating is left out.

    Raises:
        ValueError: the table is not rectangular, or a rating is not among the categories given.
    """
    rows = [list(row) for row in ratings]
    raters = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, start=1):
        if len(row) != raters:
            raise ValueError(f"Unit {number} has {len(row)} ratings where the first has {raters}; fill with None.")
    seen = [value for row in rows for value in row if not _missing(value)]
    known = list(categories) if categories is not None else in_order(seen)
    index = {category: position for position, category in enumerate(known)}
    table = np.zeros((len(rows), len(known)))
    for unit, row in enumerate(rows):
        for value in row:
            if _missing(value):
                continue
            if value not in index:
                raise ValueError(f"Unit {unit + 1} is rated {value!r}, which is not among the categories given.")
            table[unit, index[value]] += 1
    return table[table.sum(axis=1) > 0], known, raters


def cohen_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    *,
    weights: str | ArrayLike = "identity",
    categories: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> Agreement:
    """Cohen's kappa of two raters, weighted if asked, with its large-sample standard error.

    Args:
        first, second: the two raters' categories of the same n units; a unit that one of them did not rate (None or
            NaN) is left out and not counted among ``units``.
        weights: see :func:`weight_matrix`.
        categories: all categories, in order; those used, in order, unless given.

    Raises:
        ValueError: the two differ in length, or a rating is not among ``categories``.
    """
    if len(first) != len(second):
        raise ValueError(f"The first rater has {len(first)} ratings and the second {len(second)}.")
    both = [(a, b) for a, b in zip(first, second, strict=True) if not _missing(a) and not _missing(b)]
    _, known, _ = _counts([*both], categories)
    name = _named("Cohen's kappa", weights)
    n = len(both)
    if n == 0:
        return Agreement(name, None, raters=2, not_estimable="not estimable, because no unit was rated by both")
    index = {category: position for position, category in enumerate(known)}
    p = np.zeros((len(known), len(known)))
    for a, b in both:
        p[index[a], index[b]] += 1 / n
    w = weight_matrix(weights, known)
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float((w * p).sum()), float(rows @ w @ columns)
    if not 1 - expected > _NOTHING:
        return _all_one(name, n, 2, observed)
    kappa = (observed - expected) / (1 - expected)
    mean_first, mean_second = w @ columns, rows @ w
    inner = w - (mean_first[:, None] + mean_second[None, :]) * (1 - kappa)
    variance = float((p * inner**2).sum() - (kappa - expected * (1 - kappa)) ** 2) / (n * (1 - expected) ** 2)
    z = float(stats.norm.ppf(1 - alpha / 2))
    method = "large-sample standard error (Fleiss, Cohen & Everitt 1969), normal law"
    return _with_interval(name, kappa, variance, z, observed, expected, n, 2, method)


def fleiss_kappa(
    ratings: Sequence[Sequence[Hashable | None]] | NDArray[Any],
    *,
    weights: str | ArrayLike = "identity",
    categories: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> Agreement:
    """Fleiss' kappa of any number of raters; missing ratings (None or NaN) by Gwet's (2014) generalisation.

    Args:
        ratings: ``[n, r]``, units by raters.
        weights, categories: see :func:`weight_matrix`.
    """
    return _chance_corrected("Fleiss' kappa", ratings, weights, categories, alpha)


def gwet_ac(
    ratings: Sequence[Sequence[Hashable | None]] | NDArray[Any],
    *,
    weights: str | ArrayLike = "identity",
    categories: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> Agreement:
    """Gwet's AC1 (identity weights) or AC2, of any number of raters, missing ratings allowed.

    Args:
        ratings: ``[n, r]``, units by raters, None or NaN where missing.
        weights, categories: see :func:`weight_matrix`. Name the categories that could have been used and were not: the
            chance agreement depends on how many there are.
    """
    name = "Gwet's AC1" if isinstance(weights, str) and weights == "identity" else "Gwet's AC2"
    return _chance_corrected(name, ratings, weights, categories, alpha)


def _named(name: str, weights: str | ArrayLike) -> str:
    if not isinstance(weights, str):
        return f"{name} (own weights)"
    return name if weights == "identity" else f"{name} ({weights} weights)"


def _chance_corrected(
    kind: str,
    ratings: Sequence[Sequence[Hashable | None]] | NDArray[Any],
    weights: str | ArrayLike,
    categories: Sequence[Hashable] | None,
    alpha: float,
) -> Agreement:
    counts, known, raters = _counts(ratings, categories)
    n, q = counts.shape
    name = _named(kind, weights)
    per_unit = counts.sum(axis=1)
    paired = per_unit >= 2
    if not paired.any():
        return Agreement(
            name, None, units=n, raters=raters, not_estimable="not estimable, because no unit has two ratings"
        )
    w = weight_matrix(weights, known)
    share = counts / per_unit[:, None]
    prevalence = share.mean(axis=0)
    agreeing = (counts * (counts @ w - 1)).sum(axis=1)
    own = np.where(paired, agreeing / np.where(paired, per_unit * (per_unit - 1), 1), 0.0)
    observed = float(own[paired].mean())
    if kind.startswith("Fleiss"):
        expected = float(prevalence @ w @ prevalence)
        own_expected = share @ (w @ prevalence)
    else:
        if q < 2:
            return _all_one(name, n, raters, observed)
        factor = float(w.sum()) / (q * (q - 1))
        expected = factor * float((prevalence * (1 - prevalence)).sum())
        own_expected = factor * (share @ (1 - prevalence))
    if not 1 - expected > _NOTHING:
        return _all_one(name, n, raters, observed)
    estimate = (observed - expected) / (1 - expected)
    method = "standard error over units (Gwet 2014), t law"
    if n < 2:
        return Agreement(
            name, estimate, None, None, None, observed, expected, n, raters, method,
            "its interval is not estimable, because there is one unit",
        )  # fmt: skip
    value = np.where(paired, (own - expected) / (1 - expected), 0.0) * n / paired.sum()
    linear = value - 2 * (1 - estimate) * (own_expected - expected) / (1 - expected)
    variance = float(((linear - estimate) ** 2).sum()) / (n * (n - 1))
    quantile = float(stats.t.ppf(1 - alpha / 2, n - 1))
    return _with_interval(name, estimate, variance, quantile, observed, expected, n, raters, method)


def _all_one(name: str, n: int, raters: int, observed: float) -> Agreement:
    why = "not estimable, because every rating is the same category: there is no disagreement that chance could bring"
    return Agreement(name, None, observed=observed, expected=1.0, units=n, raters=raters, not_estimable=why)


def _with_interval(
    name: str,
    estimate: float,
    variance: float,
    quantile: float,
    observed: float,
    expected: float,
    n: int,
    raters: int,
    method: str,
) -> Agreement:
    if not variance > _NOTHING**2:
        why = "its interval is not estimable, because the units do not vary in their agreement"
        return Agreement(name, estimate, None, None, None, observed, expected, n, raters, method, why)
    se = math.sqrt(variance)
    upper = min(1.0, estimate + quantile * se)
    return Agreement(name, estimate, se, estimate - quantile * se, upper, observed, expected, n, raters, method)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable | None]] | NDArray[Any],
    *,
    level: Level = "nominal",
    categories: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha of any number of raters, missing ratings allowed, at any level of measurement.

    Args:
        ratings: ``[n, r]``, units by raters, None or NaN where missing. Units with one rating tell nothing of agreement
            and are left out.
        level: "nominal", "ordinal" (order as in ``categories``, else as the labels sort), "interval" or "ratio"
            (numbers).
        categories: all categories, in order.
        resamples, seed: of the bootstrap over units that makes the interval (percentiles); 0 resamples for none.

    Raises:
        ValueError: the level is unknown, or interval or ratio ratings are not numbers, or a ratio rating is negative.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; it must be one of {', '.join(map(repr, LEVELS))}.")
    counts, known, raters = _counts(ratings, categories)
    counts = counts[counts.sum(axis=1) >= 2]
    name = f"Krippendorff's alpha ({level})"
    n = len(counts)
    if n == 0:
        return Agreement(name, None, raters=raters, not_estimable="not estimable, because no unit has two ratings")
    values = _values(known)
    if level in ("interval", "ratio"):
        if values is None:
            raise ValueError(f"Krippendorff's alpha at the {level} level needs ratings that are numbers.")
        if level == "ratio" and (values < 0).any():
            raise ValueError("Krippendorff's alpha at the ratio level needs ratings of 0 or more.")
    observed, expected = _disagreements(counts, np.ones((1, n)), level, values)
    if not expected[0] > _NOTHING:
        return _all_one(name, n, raters, 0.0)
    estimate = 1 - float(observed[0] / expected[0])
    lower = upper = None
    method, why = "no interval, as asked", ""
    if n < 2 and resamples:
        method, why = "", "its interval is not estimable, because there is one unit with two ratings"
    elif resamples:
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
        of_resample, by_chance = _disagreements(counts, weights, level, values)
        usable = by_chance > _NOTHING
        again = 1 - of_resample[usable] / by_chance[usable]
        method = f"percentiles of a bootstrap over units, {resamples} resamples, seed {seed}"
        if not usable.all():
            method += f"; {int((~usable).sum())} with a single category left out"
        if usable.sum() < 2:
            why = "its interval is not estimable, because resampled units hold a single category"
        else:
            lower, upper = (float(v) for v in np.quantile(again, [alpha / 2, 1 - alpha / 2]))
    return Agreement(name, estimate, None, lower, upper, float(observed[0]), float(expected[0]), n, raters, method, why)


def _disagreements(counts: Floats, weights: Floats, level: Level, values: Floats | None) -> tuple[Floats, Floats]:
    """Observed and expected disagreement, each ``[B]``, with the units counted ``weights`` ``[B, n]`` times."""
    per_unit = counts.sum(axis=1)
    totals = weights @ counts
    size = totals.sum(axis=1)
    if level != "ordinal":
        distance = _distance(level, values, counts.shape[1], None)
        own = ((counts @ distance) * counts).sum(axis=1) / (per_unit - 1)
        seen = weights @ own
        chance = ((totals @ distance) * totals).sum(axis=1)
    else:
        # The distance of two ranks depends on how often the categories between them are used.
        seen, chance = np.empty(len(weights)), np.empty(len(weights))
        for number, weight in enumerate(weights):
            distance = _distance(level, None, counts.shape[1], totals[number])
            together = (counts * (weight / (per_unit - 1))[:, None]).T @ counts
            seen[number] = (distance * together).sum()
            chance[number] = totals[number] @ distance @ totals[number]
    return seen / size, chance / (size * np.maximum(size - 1, 1))


def _distance(level: Level, values: Floats | None, q: int, used: Floats | None) -> Floats:
    if level == "nominal":
        return 1 - np.eye(q)
    if level == "ordinal":
        assert used is not None
        middle = np.cumsum(used) - used / 2
        return (middle[:, None] - middle[None, :]) ** 2
    assert values is not None
    apart = values[:, None] - values[None, :]
    if level == "interval":
        return apart**2
    total = values[:, None] + values[None, :]
    return np.where(total > 0, apart / np.where(total > 0, total, 1), 0.0) ** 2


def bland_altman(first: ArrayLike, second: ArrayLike, *, alpha: float = 0.05) -> Limits:
    """Limits of agreement, bias ± z·SD of the differences, with intervals.

    Args:
        first, second: ``[n]``, two measurements of the same n ≥ 2 units.
        alpha: the limits hold 1 − alpha of differences, and the intervals are (1 − alpha).

    Raises:
        ValueError: the two differ in length, hold fewer than two units, or a number that is not finite.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            f"Limits of agreement need two equally long lists of two or more; got {a.shape} and {b.shape}."
        )
    difference = a - b
    if not np.isfinite(difference).all():
        raise ValueError(f"Unit {int(np.flatnonzero(~np.isfinite(difference))[0]) + 1} lacks a finite measurement.")
    n = len(difference)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    z, t = float(stats.norm.ppf(1 - alpha / 2)), float(stats.t.ppf(1 - alpha / 2, n - 1))
    of_bias, of_limit = t * sd / math.sqrt(n), t * sd * math.sqrt(1 / n + z**2 / (2 * (n - 1)))

    def around(centre: float, half: float) -> tuple[float, float]:
        return centre - half, centre + half

    lower, upper = around(bias, z * sd)
    return Limits(
        n,
        bias,
        sd,
        lower,
        upper,
        around(bias, of_bias),
        around(lower, of_limit),
        around(upper, of_limit),
        "limits bias ± z·SD; t intervals with the limits' variance SD²(1/n + z²/(2(n−1))) (Bland & Altman 1999)",
    )
