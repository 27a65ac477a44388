"""Calibration of confidence: does what was called 70 % likely come true seven times in ten?

Readers give a probability per read, or a step on a confidence scale whose steps are declared to mean probabilities.

    Brier score      mean (p − y)²
    Murphy           Brier = reliability − resolution + uncertainty + within, over the bins; ``within`` is what the bins
                     blur, and is zero where a bin holds one probability
    ECE              Σ share of bin · |mean p − observed|
    in the large     a of logit P(y) = a + logit p: 0 where the mean is right, above 0 where readers say too little
    slope            b of logit P(y) = a + b·logit p: below 1 where readers are too sure of themselves

Intervals are percentiles of a bootstrap that draws readers and cases anew, each with all their reads (the pigeonhole
bootstrap); on average the variance it shows is a little too large. Between treatments the Brier score is compared
as a mean per read (:func:`compare_brier`).

Sources: Brier, Monthly Weather Review 78:1 (1950); Murphy, Journal of Applied Meteorology 12:595 (1973), with the
within-bin terms of Stephenson, Coelho & Jolliffe, Weather and Forecasting 23:752 (2008); Cox, Biometrika 45:562 (1958)
for slope and intercept; Naeini, Cooper & Hauskrecht, AAAI (2015) for the ECE; Owen, Annals of Applied Statistics 1:386
(2007) for the bootstrap of two crossed factors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.means import ALL, compare_means, read_reads
from analysis.stats.ratings import RatingsError, row_word
from analysis.stats.results import Result, plain

Floats = NDArray[np.float64]
Binning = Literal["width", "count", "values"]
BINNINGS: tuple[Binning, ...] = ("width", "count", "values")
#: What the five steps of the confidence scale are taken to mean unless a study says otherwise: the fifths' middles.
FIVE_STEPS: Mapping[float, float] = {1: 0.1, 2: 0.3, 3: 0.5, 4: 0.7, 5: 0.9}
#: Probabilities are kept this far from 0 and 1 where a logit is taken.
CLIP = 1e-3
_QUANTITIES = ("brier", "ece", "in_the_large", "slope", "intercept")


@dataclass(frozen=True)
class Bin:
    """Reads whose probability fell into one bin; ``lower`` and ``upper`` bound the observed share."""

    n: int
    mean_probability: float
    observed: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval; None where not estimable, with the reason."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    not_estimable: str = ""


@dataclass(frozen=True)
class Calibration:
    """Calibration under one treatment; the module's notes name the quantities."""

    treatment: str
    reads: int
    readers: int
    cases: int
    prevalence: float
    mean_probability: float
    bins: tuple[Bin, ...]
    brier: Estimate
    reliability: float
    resolution: float
    uncertainty: float
    within: float
    ece: Estimate
    in_the_large: Estimate
    slope: Estimate
    intercept: Estimate
    alpha: float
    method: str
    conventions: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


def calibration(
    frame: pd.DataFrame,
    probability: str = "probability",
    *,
    scale: Mapping[float, float] | None = None,
    binning: Binning | None = None,
    bins: int = 10,
    alpha: float = 0.05,
    resamples: int = 500,
    seed: int = 0,
) -> dict[str, Calibration]:
    """Calibration under every treatment of a table.

    Args:
        frame: columns ``reader, case, truth`` (0 or 1), the column of probabilities and, unless there is one treatment,
            ``treatment``; one row per read.
        probability: the column of probabilities within 0 and 1, or of steps if ``scale`` is given.
        scale: what each step means as a probability, for example :data:`FIVE_STEPS`.
        binning: "width" (equal widths over 0 to 1), "count" (about equally many reads; equal probabilities stay
            together) or "values" (one bin per probability). "values" for a scale, else "width", unless given.
        bins: how many, for "width" and "count".
        alpha: two-sided.
        resamples, seed: of the bootstrap; 0 resamples for no intervals.

    Returns:
        Keyed by treatment ("all" where there is no such column).

    Raises:
        RatingsError: the table is faulty, a probability is outside 0 to 1, a step is not on the scale, or a case has
            two truths.
    """
    binning = binning or ("values" if scale is not None else "width")
    if binning not in BINNINGS:
        raise RatingsError(f"binning is {binning!r}; it must be one of {', '.join(map(repr, BINNINGS))}.")
    if bins < 1 or resamples < 0 or not 0 < alpha < 1:
        raise RatingsError("bins must be 1 or more, resamples 0 or more, and alpha between 0 and 1.")
    p, y, treatments, shape = _blocks(frame, probability, scale)
    conventions = _conventions(scale, binning, bins, resamples, shape)
    found = {}
    for i, treatment in enumerate(treatments):
        found[treatment] = _one(treatment, p[i], y, binning, bins, alpha, resamples, seed, conventions)
    return found


def compare_brier(
    frame: pd.DataFrame,
    probability: str = "probability",
    *,
    scale: Mapping[float, float] | None = None,
    random: str = "readers_cases",
    alpha: float = 0.05,
    reference: str | None = None,
) -> Result:
    """The Brier score between treatments, for new readers and new cases; lower is better.

    Arguments as in :func:`calibration` and :func:`analysis.stats.means.compare_means`.
    """
    chance, truth = _checked(frame, probability, scale)
    squared = frame.assign(brier=(chance - truth) ** 2)
    return compare_means(squared, "brier", random=random, alpha=alpha, reference=reference)


def _conventions(
    scale: Mapping[float, float] | None, binning: Binning, bins: int, resamples: int, shape: tuple[int, int]
) -> tuple[str, ...]:
    said = []
    if scale is not None:
        said.append("The scale's steps mean " + ", ".join(f"{step:g} → {p:g}" for step, p in scale.items()) + ".")
    words = {
        "width": f"Bins: {bins} of equal width over 0 to 1, the empty ones left out.",
        "count": f"Bins: {bins} at most, with about equally many reads; equal probabilities stay together.",
        "values": "Bins: one per probability.",
    }
    said.append(words[binning])
    said.append(f"Where a logit is taken, probabilities are kept within {CLIP:g} and {1 - CLIP:g}.")
    said.append("Every read counts the same. The ECE is biased upwards, the more so the fewer reads a bin has.")
    if resamples:
        who = "readers and cases" if shape[0] > 1 else "the cases of the one reader there is"
        said.append(f"Intervals are percentiles of a bootstrap over {who}; bins keep their bounds.")
    return tuple(said)


def _checked(frame: pd.DataFrame, probability: str, scale: Mapping[float, float] | None) -> tuple[Floats, Floats]:
    """Probabilities and truths by row."""
    from analysis.stats.means import numbers

    for column in ("truth", probability):
        if column not in frame.columns:
            raise RatingsError(
                f"The table lacks the column {column}; it needs reader, case, truth, {probability}, a row per read."
            )
    truth = numbers(frame, "truth")
    bad = np.flatnonzero((truth != 0) & (truth != 1))
    if bad.size:
        raise RatingsError(f"The truth of {row_word(frame, int(bad[0]))} is {truth[bad[0]]:g}; it must be 0 or 1.")
    given = numbers(frame, probability)
    if scale is None:
        bad = np.flatnonzero((given < 0) | (given > 1))
        if bad.size:
            where = row_word(frame, int(bad[0]))
            raise RatingsError(f"The {probability} of {where} is {given[bad[0]]:g}; it must be within 0 and 1.")
        return given, truth
    known = {float(step): float(p) for step, p in scale.items()}
    if not all(0 <= p <= 1 for p in known.values()):
        raise RatingsError("The scale gives a step a probability outside 0 to 1.")
    bad = np.flatnonzero([float(step) not in known for step in given])
    if bad.size:
        steps = ", ".join(f"{step:g}" for step in known)
        where = row_word(frame, int(bad[0]))
        raise RatingsError(f"The {probability} of {where} is {given[bad[0]]:g}, which is not on the scale ({steps}).")
    return np.array([known[float(step)] for step in given]), truth


def _blocks(
    frame: pd.DataFrame, probability: str, scale: Mapping[float, float] | None
) -> tuple[Floats, Floats, tuple[str, ...], tuple[int, int]]:
    """Probabilities ``[I, J, K]`` and truths ``[K]``."""
    chance, truth = _checked(frame, probability, scale)
    reads = read_reads(frame.assign(**{probability: chance, "truth": truth}), [probability, "truth"])
    block = reads.values["truth"]
    low, high = np.nanmin(block, axis=(0, 1)), np.nanmax(block, axis=(0, 1))
    clash = np.flatnonzero(low != high)
    if clash.size:
        raise RatingsError(
            f"Case {reads.cases[clash[0]]} has truth 0 in one row and 1 in another; a case has one truth."
        )
    names = reads.treatments if "treatment" in frame.columns else (ALL,)
    return reads.values[probability], low, names, (len(reads.readers), len(reads.cases))


def _one(
    treatment: str,
    block: Floats,
    truth: Floats,
    binning: Binning,
    bins: int,
    alpha: float,
    resamples: int,
    seed: int,
    conventions: tuple[str, ...],
) -> Calibration:
    reader, case = np.nonzero(~np.isnan(block))
    p, y = block[reader, case], truth[case]
    members = _binned(p, binning, bins)
    ones = np.ones(len(p))
    numbers = _quantities(p, y, members, ones)
    readers, cases = len(np.unique(reader)), len(np.unique(case))
    draws, why = _bootstrap(p, y, members, reader, case, block.shape, resamples, seed)

    def estimate(name: str) -> Estimate:
        value = numbers[name]
        if np.isnan(value):
            return Estimate(None, not_estimable=_why_no_logit(p, y, name))
        if draws is None:
            return Estimate(float(value), not_estimable=why)
        usable = draws[name][~np.isnan(draws[name])]
        if len(usable) < 0.9 * resamples:
            lost = f"its interval is not estimable, because {resamples - len(usable)} of {resamples} resamples had none"
            return Estimate(float(value), not_estimable=lost)
        lower, upper = np.quantile(usable, [alpha / 2, 1 - alpha / 2])
        return Estimate(float(value), float(lower), float(upper))

    found = []
    base = float(y.mean())
    reliability = resolution = blurred = 0.0
    for number in range(int(members.max()) + 1):
        here = members == number
        n, mean, observed = int(here.sum()), float(p[here].mean()), float(y[here].mean())
        reliability += n / len(p) * (mean - observed) ** 2
        resolution += n / len(p) * (observed - base) ** 2
        away = p[here] - mean
        blurred += float((away**2).sum() - 2 * (away * (y[here] - observed)).sum()) / len(p)
        lower = upper = None
        if draws is not None:
            usable = draws[f"bin {number}"][~np.isnan(draws[f"bin {number}"])]
            if len(usable) >= 0.9 * resamples:
                lower, upper = (float(v) for v in np.quantile(usable, [alpha / 2, 1 - alpha / 2]))
        found.append(Bin(n, mean, observed, lower, upper))
    warnings = []
    if (clipped := int(((p < CLIP) | (p > 1 - CLIP)).sum())) > 0:
        warnings.append(
            f"{clipped} of {len(p)} probabilities lie outside {CLIP:g} to {1 - CLIP:g} and were moved there."
        )
    return Calibration(
        treatment=treatment,
        reads=len(p),
        readers=readers,
        cases=cases,
        prevalence=base,
        mean_probability=float(p.mean()),
        bins=tuple(found),
        brier=estimate("brier"),
        reliability=reliability,
        resolution=resolution,
        uncertainty=base * (1 - base),
        within=blurred,
        ece=estimate("ece"),
        in_the_large=estimate("in_the_large"),
        slope=estimate("slope"),
        intercept=estimate("intercept"),
        alpha=alpha,
        method=f"bootstrap of readers and cases, {resamples} resamples, seed {seed}" if draws is not None else "",
        conventions=conventions,
        warnings=tuple(warnings),
    )


def _binned(p: Floats, binning: Binning, bins: int) -> NDArray[np.intp]:
    """The bin of each probability, numbered from 0 without gaps, ascending."""
    if binning == "values":
        return np.unique(p, return_inverse=True)[1]
    if binning == "width":
        raw = np.minimum((p * bins).astype(np.intp), bins - 1)
    else:
        # A bin ends where its share of reads is full, but never between equal probabilities.
        edges = np.quantile(p, np.arange(1, bins) / bins, method="inverted_cdf")
        raw = np.searchsorted(np.unique(edges), p, side="left")
    return np.unique(raw, return_inverse=True)[1]


def _quantities(p: Floats, y: Floats, members: NDArray[np.intp], weight: Floats) -> dict[str, float]:
    """Every number of the read weights; NaN where one is not estimable."""
    total = weight.sum()
    n = np.bincount(members, weight)
    gap = np.abs(np.bincount(members, weight * p) - np.bincount(members, weight * y))
    found = {"brier": float((weight * (p - y) ** 2).sum() / total), "ece": float(gap[n > 0].sum() / total)}
    values, where = np.unique(np.clip(p, CLIP, 1 - CLIP), return_inverse=True)
    x = np.log(values / (1 - values))
    events, trials = (np.asarray(np.bincount(where, w), dtype=np.float64) for w in (weight * y, weight))
    found["in_the_large"] = _offset_fit(x, events, trials)
    found["intercept"], found["slope"] = _logistic_fit(x, events, trials)
    return found


def _offset_fit(x: Floats, events: Floats, trials: Floats) -> float:
    """a of logit P = a + x."""
    if not 0 < events.sum() < trials.sum():
        return float("nan")
    a = 0.0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(a + x)))
        step = float((events - trials * chance).sum() / (trials * chance * (1 - chance)).sum())
        a += float(np.clip(step, -2, 2))
        if abs(step) < 1e-10:
            return a
    return float("nan")


def _logistic_fit(x: Floats, events: Floats, trials: Floats) -> tuple[float, float]:
    """(a, b) of logit P = a + b·x; NaN where x does not vary or separates the two."""
    nothing = (float("nan"), float("nan"))
    used = trials > 0
    yes, no = x[used & (events > 0)], x[used & (trials - events > 1e-12)]
    if not len(yes) or not len(no) or np.ptp(x[used]) == 0:
        return nothing
    if yes.min() >= no.max() or yes.max() <= no.min():  # one step would explain it all: the slope is infinite
        return nothing
    a = b = 0.0
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(a + b * x, -500, 500)))
        left, weight = events - trials * chance, trials * chance * (1 - chance)
        s0, s1, s2 = weight.sum(), (weight * x).sum(), (weight * x * x).sum()
        determinant = s0 * s2 - s1 * s1
        if not determinant > 1e-12 * s0 * s2:
            return nothing
        g0, g1 = left.sum(), (left * x).sum()
        da, db = (s2 * g0 - s1 * g1) / determinant, (s0 * g1 - s1 * g0) / determinant
        shrink = min(1.0, 3 / max(abs(da), abs(db), 1e-300))
        a, b = float(a + shrink * da), float(b + shrink * db)
        if max(abs(da), abs(db)) < 1e-9:
            return a, b
    return nothing


def _why_no_logit(p: Floats, y: Floats, name: str) -> str:
    if y.min() == y.max():
        return f"not estimable, because every read is of a {'diseased' if y[0] else 'non-diseased'} case"
    if np.ptp(p) == 0:
        return "not estimable, because every probability is the same"
    if name == "in_the_large":
        return "not estimable, because the fit did not settle"
    return "not estimable, because one cut of the probabilities separates the truths: the slope has no bound"


def _bootstrap(
    p: Floats,
    y: Floats,
    members: NDArray[np.intp],
    reader: NDArray[np.intp],
    case: NDArray[np.intp],
    shape: tuple[int, ...],
    resamples: int,
    seed: int,
) -> tuple[dict[str, Floats] | None, str]:
    readers, cases = np.unique(reader), np.unique(case)
    if not resamples:
        return None, "no interval, as asked"
    if len(cases) < 2:
        return None, "its interval is not estimable, because there is one case"
    rng = np.random.default_rng(seed)
    count = int(members.max()) + 1
    draws = {name: np.full(resamples, np.nan) for name in (*_QUANTITIES, *(f"bin {k}" for k in range(count)))}
    of_reader, of_case = np.zeros(shape[0]), np.zeros(shape[1])
    for number in range(resamples):
        of_reader[readers] = (
            rng.multinomial(len(readers), np.full(len(readers), 1 / len(readers))) if len(readers) > 1 else 1
        )
        of_case[cases] = rng.multinomial(len(cases), np.full(len(cases), 1 / len(cases)))
        weight = of_reader[reader] * of_case[case]
        if not weight.sum() > 0:
            continue
        for name, value in _quantities(p, y, members, weight).items():
            draws[name][number] = value
        trials = np.bincount(members, weight, minlength=count)
        events = np.bincount(members, weight * y, minlength=count)
        for k in np.flatnonzero(trials > 0):
            draws[f"bin {k}"][number] = events[k] / trials[k]
    return draws, ""
