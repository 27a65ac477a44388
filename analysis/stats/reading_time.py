"""Reading time by a linear mixed model on log seconds, fitted by REML.

    log(seconds) = β0 + β1·assisted + β2·(period − 1) + b_reader + assisted·s_reader + c_case + ε

with independent normal random effects: lme4's ``log(seconds) ~ assisted + I(period-1) + (1 + assisted || reader) +
(1 | case)``. exp(β1) is the ratio of geometric mean reading times, assisted to unassisted.

Sources: Bates, Mächler, Bolker & Walker, Journal of Statistical Software 67(1) (2015) for the profiled REML criterion;
Fai & Cornelius, Journal of Statistical Computation and Simulation 54:363 (1996) and Kuznetsova, Brockhoff &
Christensen, Journal of Statistical Software 82(13) (2017) for Satterthwaite degrees of freedom.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, optimize, sparse

from analysis.stats.laws import t_critical, t_two_sided
from analysis.stats.ratings import RatingsError, name_of, row_word
from analysis.stats.results import plain

Floats = NDArray[np.float64]
#: Random effects larger than this many residual standard deviations leave no residual to speak of.
_LARGEST = 1e5
TIME_COLUMNS = ("reader", "case", "assisted", "period", "seconds")


@dataclass(frozen=True)
class FixedEffect:
    """One coefficient on the log scale with its Satterthwaite degrees of freedom."""

    term: str
    estimate: float
    se: float
    df: float
    t: float
    p: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ReadingTime:
    """Reading time, assisted against unassisted.

    ``ratio`` and its interval are exp of the ``assisted`` coefficient. ``geometric_means`` are of the raw times, keyed
    "unassisted" and "assisted". ``variances`` are keyed reader, reader slope, case, residual (log scale). Where
    ``not_estimable`` is not empty, the model's numbers are absent and it says why.
    """

    geometric_means: dict[str, float]
    readings: dict[str, int]
    fixed: tuple[FixedEffect, ...] = ()
    variances: dict[str, float] = dataclasses.field(default_factory=dict)
    reml: float | None = None
    ratio: float | None = None
    ratio_lower: float | None = None
    ratio_upper: float | None = None
    alpha: float = 0.05
    conventions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


@dataclass(frozen=True)
class _Problem:
    """Cross products of the mixed model, the random effect with most levels (D) apart from the rest, W = [Z, X, y].

    The cross products of D's columns with each other are diagonal, so D is eliminated level by level, and levels that
    are as often observed are eliminated at once: what is left to factor is small however many cases there are.

    Attributes:
        counts: the different Σ weight² of D's levels, ``[c]``.
        across: Σ (DᵀW)(DᵀW)ᵀ over the levels with each of these, ``[c, w, w]``.
        inner: WᵀW, ``[w, w]``.
        levels: how many levels of D have each count, ``[c]``.
        first: which effect D is.
        blocks: the other effects' columns in W, by effect.
        random: how many columns of W are Z.
        n: readings.
    """

    counts: Floats
    across: Floats
    inner: Floats
    levels: Floats
    first: int
    blocks: dict[int, slice]
    random: int
    n: int


def reading_time(frame: pd.DataFrame, *, alpha: float = 0.05, reader_slope: bool = True) -> ReadingTime:
    """Fit the mixed model.

    Args:
        frame: columns ``reader, case, assisted, period, seconds``, one row per reading; ``assisted`` 0 or 1, ``period``
            1, 2, …, ``seconds`` positive. Numbers may be text.
        alpha: two-sided level of the intervals.
        reader_slope: let the effect of assistance differ between readers (leaving it out makes intervals too narrow
            where it does).

    Raises:
        RatingsError: a column is missing, or a row has no label, or a number that cannot be used; one sentence.
    """
    reader, case, assisted, period, log_seconds = _read(frame)
    arms = {"unassisted": assisted == 0, "assisted": assisted == 1}
    means = {arm: float(np.exp(log_seconds[rows].mean())) for arm, rows in arms.items() if rows.any()}
    counts = {arm: int(rows.sum()) for arm, rows in arms.items()}

    def no(reason: str) -> ReadingTime:
        return ReadingTime(means, counts, alpha=alpha, not_estimable=f"not estimable, because {reason}")

    if len(means) < 2:
        return no(f"every reading is {next(iter(means))}: there is nothing to compare")
    readers, cases = int(reader.max()) + 1, int(case.max()) + 1
    if readers < 2:
        return no("there is one reader: how readers differ cannot be seen")
    warnings, conventions = [], []

    terms, columns = ["intercept", "assisted"], [np.ones_like(assisted), assisted]
    terms.append("period")
    columns.append(period - 1)
    if np.linalg.matrix_rank(np.stack(columns, axis=1)) < 3:
        terms.pop()
        columns.pop()
        if np.ptp(period) > 0:
            return no("period and assistance change together: their effects on time cannot be told apart")
        warnings.append("All readings are in one period: the model has no period term.")
    effects: dict[str, tuple[NDArray[np.intp], Floats, int]] = {"reader": (reader, np.ones_like(assisted), readers)}
    both = [len(np.unique(assisted[reader == j])) == 2 for j in range(readers)]
    if not reader_slope:
        warnings.append("The model has no reader slope, as asked.")
    elif sum(both) >= 2:
        effects["reader slope"] = (reader, assisted, readers)
    else:
        warnings.append("Fewer than two readers read in both arms: the model has no reader slope.")
    if cases < len(log_seconds):
        effects["case"] = (case, np.ones_like(assisted), cases)
    else:
        warnings.append("Every case was read once: case and residual variation cannot be told apart.")
    x = np.stack(columns, axis=1)
    if len(log_seconds) - x.shape[1] < 2:
        return no(f"{len(log_seconds)} readings are too few for the model")

    if readers == len(log_seconds):
        return no("every reader read once: readers and residual variation cannot be told apart")
    # Around their mean the logarithms lose no digits to the mean's square.
    centre = float(log_seconds.mean())
    problem = _problem(x, log_seconds - centre, list(effects.values()))
    theta = _fit(problem, len(effects))
    if theta.max() >= _LARGEST / 2:
        return no("the readings are too few for the model: it leaves no residual variation")
    deviance, sigma2, beta, covariance = _profile(theta, problem)
    beta[0] += centre
    if not sigma2 > 1e-12:
        return no("the times leave no residual variation")

    free = theta > 0
    if not free.all():
        zero = [name for name, kept in zip(effects, free, strict=True) if not kept]
        warnings.append(f"The variance of {', '.join(zero)} is estimated as zero.")
        conventions.append("A variance estimated as zero is held at zero for the degrees of freedom.")
    gradient, uncertainty = _sensitivity(theta, math.sqrt(sigma2), free, problem)
    fixed = []
    for position, term in enumerate(terms):
        estimate, variance = float(beta[position]), float(covariance[position, position])
        slope = gradient[:, position]
        spread = float(slope @ uncertainty @ slope)
        df = 2 * variance**2 / spread if spread > 0 else math.inf
        se = math.sqrt(variance)
        half = t_critical(alpha, df) * se
        p = t_two_sided(estimate / se, df)
        fixed.append(FixedEffect(term, estimate, se, df, estimate / se, p, estimate - half, estimate + half))
    variances = {name: float(t**2 * sigma2) for name, t in zip(effects, theta, strict=True)}
    variances["residual"] = sigma2
    conventions.insert(0, "REML; Satterthwaite degrees of freedom as lmerTest computes them.")
    conventions.insert(1, "The period enters as a linear term, period − 1; random effects are independent.")
    conventions.append("Geometric means are of the times as recorded; the ratio is the model's, adjusted for period.")
    found = fixed[1]
    return ReadingTime(
        geometric_means=means,
        readings=counts,
        fixed=tuple(fixed),
        variances=variances,
        reml=deviance,
        ratio=math.exp(found.estimate),
        ratio_lower=_exp(found.lower),
        ratio_upper=_exp(found.upper),
        alpha=alpha,
        conventions=tuple(conventions),
        warnings=tuple(warnings),
    )


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _read(frame: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats, Floats]:
    absent = [column for column in TIME_COLUMNS if column not in frame.columns]
    if absent:
        raise RatingsError(f"The times table lacks the column {', '.join(absent)}; it needs {', '.join(TIME_COLUMNS)}.")
    if frame.empty:
        raise RatingsError("The times table has no rows; nothing can be analysed.")
    numbers = {}
    for column in ("assisted", "period", "seconds"):
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        allowed = {"assisted": (values == 0) | (values == 1), "period": values >= 1, "seconds": values > 0}[column]
        bad = np.flatnonzero(~(allowed & np.isfinite(values)))
        if bad.size:
            rule = {"assisted": "0 or 1", "period": "1 or more", "seconds": "more than 0"}[column]
            where = row_word(frame, int(bad[0])).capitalize()
            given = frame[column].iloc[bad[0]]
            if pd.isna(given) or given == "":
                raise RatingsError(f"{where} has no {column}; it must be {rule}.")
            raise RatingsError(f"{where} has {column} {given}; it must be {rule}.")
        numbers[column] = values
    codes = {}
    for column in ("reader", "case"):
        empty = np.flatnonzero((frame[column].isna() | (frame[column].astype(str) == "")).to_numpy())
        if empty.size:
            where = row_word(frame, int(empty[0])).capitalize()
            raise RatingsError(f"{where} has no {column}; give every row one.")
        codes[column] = np.unique([name_of(v) for v in frame[column].tolist()], return_inverse=True)[1]
    told = np.stack([codes["reader"], codes["case"], numbers["assisted"], numbers["period"]], axis=1)
    _, first, which = np.unique(told, axis=0, return_index=True, return_inverse=True)
    first = first[which.ravel()]
    again = np.flatnonzero(first != np.arange(len(told)))
    if again.size:
        here = int(again[0])
        reading = ", ".join(f"{column} {frame[column].iloc[here]}" for column in ("reader", "case", "period"))
        raise RatingsError(
            f"{row_word(frame, here).capitalize()} ({reading}) was already timed in "
            f"{row_word(frame, int(first[here]))}; keep one row per reading."
        )
    return codes["reader"], codes["case"], numbers["assisted"], numbers["period"], np.log(numbers["seconds"])


def _problem(x: Floats, y: Floats, effects: list[tuple[NDArray[np.intp], Floats, int]]) -> _Problem:
    first = max(range(len(effects)), key=lambda e: effects[e][2])
    blocks, columns, start = {}, [], 0
    rows = np.arange(len(y))
    for number, (index, weight, levels) in enumerate(effects):
        if number == first:
            continue
        z = np.zeros((len(y), levels))
        z[rows, index] = weight
        columns.append(z)
        blocks[number] = slice(start, start + levels)
        start += levels
    w = np.concatenate([*columns, x, y[:, None]], axis=1)
    index, weight, levels = effects[first]
    observed = np.bincount(index, weights=weight**2, minlength=levels)
    rows_of = sparse.csr_array((weight, (index, rows)), shape=(levels, len(y))) @ w
    counts, group = np.unique(observed, return_inverse=True)
    across = np.stack([rows_of[group == g].T @ rows_of[group == g] for g in range(len(counts))])
    sizes = np.bincount(group).astype(np.float64)
    return _Problem(counts.astype(np.float64), across, w.T @ w, sizes, first, blocks, start, len(y))


def _profile(theta: Floats, problem: _Problem, sigma: float | None = None) -> tuple[float, float, Floats, Floats]:
    """REML deviance at relative standard deviations ``theta``, with σ² and β at their best values given them.

    With ``sigma`` given, the deviance at that σ instead. Returns deviance, σ², β and the covariance of β.
    """
    k, w = problem.random, len(problem.inner)
    scale = np.ones(w)
    for effect, block in problem.blocks.items():
        scale[block] = theta[effect]
    square = theta[problem.first] ** 2
    diagonal = 1 + square * problem.counts
    left = problem.inner - ((square / diagonal)[:, None, None] * problem.across).sum(axis=0)
    left = scale[:, None] * left * scale
    left[np.arange(k), np.arange(k)] += 1
    # One Cholesky factor of [Z, X, y] holds every step: its last row is what y leaves over.
    root, info = linalg.lapack.dpotrf(left, lower=1)
    if 0 < info < w:
        raise linalg.LinAlgError("The fixed effects cannot be told apart.")
    rx, cb = np.tril(root[k : w - 1, k : w - 1]), root[w - 1, k : w - 1]
    residual = float(root[w - 1, w - 1]) ** 2 if info == 0 else 0.0
    inverse_root = np.linalg.inv(rx)
    beta = inverse_root.T @ cb
    free = problem.n - len(beta)
    pivots = np.diag(root)[: w - 1]
    logs = float((problem.levels * np.log(diagonal)).sum()) + 2 * float(np.log(pivots).sum())
    sigma2 = max(residual, 1e-300) / free if sigma is None else sigma**2
    deviance = logs + free * math.log(2 * math.pi * sigma2) + residual / sigma2
    return deviance, sigma2, beta, sigma2 * (inverse_root.T @ inverse_root)


def _fit(problem: _Problem, effects: int) -> Floats:
    """Relative standard deviations at the REML optimum, each ≥ 0; what is as good at zero is zero."""

    def deviance(theta: Floats) -> float:
        try:
            return _profile(np.clip(np.abs(theta), 0, _LARGEST), problem)[0]
        except linalg.LinAlgError:
            return math.inf

    starts = [
        optimize.minimize(
            deviance, np.full(effects, at), method="L-BFGS-B", bounds=[(0, None)] * effects, options={"maxiter": 200}
        )
        for at in (0.3, 1.0)
    ]
    best = min(starts, key=lambda found: float(found.fun))
    polished = optimize.minimize(
        deviance,
        best.x,
        method="Nelder-Mead",
        options={
            "xatol": 1e-8,
            "fatol": 1e-11,
            "maxfev": 3000,
            "initial_simplex": np.vstack([best.x, best.x + np.diag(0.02 * np.maximum(1.0, best.x))]),
        },
    )
    theta = np.clip(np.abs(polished.x), 0, _LARGEST)
    for effect in np.flatnonzero(theta < 0.01):
        without = theta.copy()
        without[effect] = 0.0
        if deviance(without) <= deviance(theta) + 1e-8:
            theta = without
    return theta


def _sensitivity(theta: Floats, sigma: float, free: NDArray[np.bool_], problem: _Problem) -> tuple[Floats, Floats]:
    """How the variances of β move with (θ, σ), and the uncertainty of (θ, σ): 2 × the inverse Hessian of the deviance.

    Both by fourth-order central differences over the parameters that are not held at zero.
    """
    point = np.r_[theta[free], sigma]
    # Relative standard deviations may be near zero; σ is of whatever size the residuals are.
    steps = 0.01 * np.r_[np.maximum(point[:-1], 0.02), sigma]

    def at(offset: Floats) -> tuple[float, Floats]:
        moved = point + offset * steps
        full = np.zeros_like(theta)
        full[free] = moved[:-1]
        deviance, _, _, covariance = _profile(full, problem, sigma=float(moved[-1]))
        return deviance, np.diag(covariance)

    size = len(point)
    unit = np.eye(size)
    weights = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
    gradient: Floats = np.stack(
        [sum(w * at(k * unit[a])[1] for k, w in weights.items()) / steps[a] for a in range(size)]
    )
    centre = at(np.zeros(size))[0]
    second = {-2: -1 / 12, -1: 16 / 12, 1: 16 / 12, 2: -1 / 12}
    hessian = np.empty((size, size))
    for a in range(size):
        hessian[a, a] = (sum(w * at(k * unit[a])[0] for k, w in second.items()) - 30 / 12 * centre) / steps[a] ** 2
        for b in range(a):
            mixed = sum(
                wa * wb * at(ka * unit[a] + kb * unit[b])[0] for ka, wa in weights.items() for kb, wb in weights.items()
            )
            hessian[a, b] = hessian[b, a] = mixed / (steps[a] * steps[b])
    # θ and σ may differ by many powers of ten: bring the curvatures to one before inverting.
    unit_of = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    scaled = np.linalg.pinv(unit_of[:, None] * hessian * unit_of, hermitian=True, rcond=1e-10)
    return gradient, np.asarray(2 * unit_of[:, None] * scaled * unit_of, dtype=np.float64)
