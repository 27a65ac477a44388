"""Simulated reader studies: the model of Roe and Metz, whose figures are known.

The rating of case k by reader j under treatment i with truth t is

    X = t μ_i + R_jt + C_kt + TR_ijt + TC_ikt + RC_jkt + ε_ijkt

with independent normal effects, each drawn anew for each truth (so no effect is shared by diseased and non-diseased
cases). The variances of the case effects sum to 1, so a reader's own AUC under a treatment is Φ((μ + difference of the
reader effects)/√2) on average.

Sources: Roe & Metz, Academic Radiology 4:298 (1997), the model, its structures and levels; Gallas & Hillis, Journal of
Medical Imaging 1:031006 (2014), its moments; Hillis, Statistics in Medicine 37:2067 (2018), the Obuchowski–Rockette
parameters it implies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.stats.components import COVARIANCES, Components, components
from analysis.stats.obuchowski_rockette import Random
from analysis.stats.power import PlanningComponents
from analysis.stats.ratings import Ratings
from analysis.stats.ustatistics import analyse as analyse_by_ustatistics

Floats = NDArray[np.float64]
Structure = Literal["HL", "LL", "HH", "LH"]

#: σ²_C, σ²_TC, σ²_RC, σ²_ε by the correlation between ratings of a case, high or low: first letter of a structure.
CASE_VARIANCES = {"H": (0.3, 0.3, 0.2, 0.2), "L": (0.1, 0.1, 0.2, 0.6)}
#: σ²_R = σ²_TR by the variation between readers, low or high (second letter), and by μ.
READER_VARIANCES = {
    "L": {0.75: 0.0055, 1.5: 0.0055, 2.5: 0.0055},
    "H": {0.75: 0.011, 1.5: 0.030, 2.5: 0.056},
}
#: Separations of the classes: AUCs of about .70, .86 and .96.
SEPARATIONS = (0.75, 1.5, 2.5)
STRUCTURES: tuple[Structure, ...] = ("HL", "LL", "HH", "LH")


@dataclass(frozen=True)
class RoeMetz:
    """One configuration.

    Attributes:
        mu: separation of the classes under each treatment; equal separations are the null hypothesis.
        reader, treatment_reader: variances of R and TR.
        case, treatment_case, reader_case, error: variances of C, TC, RC and ε.
    """

    mu: tuple[float, ...]
    reader: float
    treatment_reader: float
    case: float
    treatment_case: float
    reader_case: float
    error: float

    @classmethod
    def standard(cls, structure: Structure, mu: float, *, treatments: int = 2) -> RoeMetz:
        """A configuration of the paper's table, under the null hypothesis.

        Args:
            structure: correlation between the ratings of a case, then variation between readers, each H or L.
            mu: .75, 1.5 or 2.5.
            treatments: I.
        """
        if structure not in STRUCTURES or mu not in SEPARATIONS:
            raise ValueError(
                f"The table of Roe and Metz has no {structure!r} with mu {mu:g}: "
                f"structures are {', '.join(STRUCTURES)}, separations {', '.join(f'{m:g}' for m in SEPARATIONS)}."
            )
        between = READER_VARIANCES[structure[1]][mu]
        return cls((mu,) * treatments, between, between, *CASE_VARIANCES[structure[0]])

    def with_auc_difference(self, difference: float) -> RoeMetz:
        """The same with the second treatment's expected AUC higher by ``difference``."""
        auc = self.auc[0] + difference
        if not 0 < auc < 1:
            raise ValueError(f"An AUC of {auc:g} is out of range; choose a smaller difference.")
        return replace(self, mu=(self.mu[0], float(special.ndtri(auc)) * math.sqrt(self._spread), *self.mu[2:]))

    @property
    def _spread(self) -> float:
        """Variance of the difference of a diseased and a non-diseased rating."""
        parts = self.reader + self.treatment_reader + self.case + self.treatment_case + self.reader_case + self.error
        return 2.0 * parts

    @property
    def auc(self) -> tuple[float, ...]:
        """Expected AUC of each treatment, over readers and cases."""
        return tuple(float(special.ndtr(mu / math.sqrt(self._spread))) for mu in self.mu)

    def moments(self, i: int = 0, k: int = 0) -> Floats:
        """M1 … M8 of treatments i and k, in the order of :mod:`analysis.stats.ustatistics`.

        Each is the probability that two normal differences are both positive; their correlation is the share of the
        variance that comes from effects the two have in common.
        """
        same = float(i == k)
        reader = 2.0 * (self.reader + same * self.treatment_reader)
        case = self.case + same * self.treatment_case
        both = self.reader_case + same * self.error
        found = []
        for same_reader in (1.0, 0.0):
            for diseased, healthy in ((1, 1), (1, 0), (0, 1), (0, 0)):
                shared = same_reader * reader + (diseased + healthy) * (case + same_reader * both)
                h, m = (self.mu[t] / math.sqrt(self._spread) for t in (i, k))
                found.append(_both_below(h, m, shared / self._spread))
        return np.array(found)

    def planning_components(self, diseased: int, nondiseased: int) -> PlanningComponents:
        """Obuchowski–Rockette parameters at this many cases of each class, for the first two treatments.

        The error covariances are over cases given the readers, averaged over readers; Cov1 and Cov3 are across the two
        treatments, Var, Cov2 and the reader variances the average of theirs.
        """
        own = (self.moments(0, 0) + self.moments(1, 1)) / 2.0
        crossed = self.moments(0, 1)
        n = diseased * nondiseased
        weights = np.array([1.0, nondiseased - 1.0, diseased - 1.0, 1.0 - nondiseased - diseased]) / n
        between, across = own[3] - own[7], crossed[3] - crossed[7]
        return PlanningComponents(
            var=float(weights @ own[:4]),
            cov1=float(weights @ crossed[:4]),
            cov2=float(weights @ own[4:]),
            cov3=float(weights @ crossed[4:]),
            var_tr=float(between - across),
            cases=diseased + nondiseased,
        )

    def simulate(
        self,
        *,
        readers: int = 5,
        diseased: int = 50,
        nondiseased: int = 50,
        trials: int = 1,
        seed: int | np.random.Generator = 0,
        levels: int | None = None,
        dtype: type = np.float64,
    ) -> tuple[Floats, Floats]:
        """Ratings of the diseased and of the non-diseased cases, ``[trials, I, J, n1]`` and ``[trials, I, J, n0]``.

        Args:
            readers: J.
            diseased: n1.
            nondiseased: n0.
            trials: simulated studies, drawn together.
            seed: whole number or generator; the same seed gives the same ratings.
            levels: bin the ratings to 1 … levels (5 is the usual confidence scale); None leaves them continuous.
            dtype: float64, or float32 for speed.
        """
        rng = np.random.default_rng(seed)
        positives = self._class(rng, self.mu, trials, readers, diseased, dtype)
        negatives = self._class(rng, (0.0,) * len(self.mu), trials, readers, nondiseased, dtype)
        if levels is not None:
            # Equal steps over the span between the classes' centres, with one standard deviation beyond each.
            edges = np.linspace(-1.0, max(self.mu) + 1.0, levels + 1)[1:-1]
            positives, negatives = (np.digitize(x, edges).astype(dtype) + 1 for x in (positives, negatives))
        return positives, negatives

    def _class(
        self, rng: np.random.Generator, mu: tuple[float, ...], trials: int, readers: int, n: int, dtype: type
    ) -> Floats:
        treatments = len(mu)

        def effect(variance: float, *shape: int) -> Any:
            drawn = rng.standard_normal((trials, *shape), dtype=dtype)
            drawn *= dtype(math.sqrt(variance))
            return drawn

        ratings = effect(self.error, treatments, readers, n)
        ratings += effect(self.reader_case, 1, readers, n)
        ratings += effect(self.treatment_case, treatments, 1, n)
        ratings += effect(self.case, 1, 1, n)
        ratings += effect(self.treatment_reader, treatments, readers, 1)
        ratings += effect(self.reader, 1, readers, 1)
        ratings += np.array(mu, dtype=dtype)[:, None, None]
        return np.asarray(ratings)


def split_plot(ratings: Floats, groups: int) -> Floats:
    """The same with readers and cases in ``groups`` blocks: a reader keeps the ratings of their own block's cases only.

    Args:
        ratings: ``[..., J, n]``; readers and cases are dealt to the blocks in turn.
        groups: number of blocks.

    Returns:
        A copy with NaN where a reader did not read.
    """
    readers, n = ratings.shape[-2:]
    read = np.arange(readers)[:, None] % groups == np.arange(n) % groups
    return np.where(read, ratings, np.nan)


def as_ratings(positives: Floats, negatives: Floats) -> Ratings:
    """One simulated study, ``[I, J, n1]`` and ``[I, J, n0]``, as a checked table: readers 1 … J, treatments 1 … I."""
    scores = np.concatenate([positives, negatives], axis=-1).astype(np.float64)
    treatments, readers, n = scores.shape

    def names(count: int) -> tuple[str, ...]:
        return tuple(str(number + 1) for number in range(count))

    return Ratings(names(readers), names(treatments), names(n), np.arange(n) < positives.shape[-1], scores)


def as_frame(positives: Floats, negatives: Floats) -> pd.DataFrame:
    """One simulated study as a table with the columns ``reader, treatment, case, truth, rating``; NaN has no row."""
    table = as_ratings(positives, negatives)
    read = np.argwhere(~np.isnan(table.scores))
    treatment, reader, case = read.T
    return pd.DataFrame(
        {
            "reader": reader + 1,
            "treatment": treatment + 1,
            "case": case + 1,
            "truth": table.truth[case].astype(int),
            "rating": table.scores[tuple(read.T)],
        }
    )


def p_values(
    positives: Floats, negatives: Floats, *, covariance: str = "delong", random: Random = "readers_cases"
) -> Floats:
    """The p value that each of many studies gives for its two treatments, ``[trials]``.

    The same tests as :func:`analysis.stats.obuchowski_rockette.analyse` (and, for "ustat",
    :func:`analysis.stats.ustatistics.analyse`), for all studies at once. A study whose difference is not estimable
    shows nothing: its p is 1.

    Args:
        positives: ``[trials, 2, J, n1]``, from :meth:`RoeMetz.simulate`; NaN only with "ustat".
        negatives: ``[trials, 2, J, n0]``.
        covariance: "delong", "jackknife", "unbiased" or "ustat".
        random: with "ustat" readers and cases are random, whatever stands here.
    """
    trials, treatments, readers, n1 = positives.shape
    if treatments != 2:
        raise ValueError(f"The studies have {treatments} treatments; this test compares two.")
    if covariance == "ustat":
        tests = (
            analyse_by_ustatistics(as_ratings(high, low)).differences[0, 1]
            for high, low in zip(positives, negatives, strict=True)
        )
        return np.array([1.0 if found.p is None else found.p for found in tests])
    curves = 2 * readers
    high, low = positives.reshape(trials, curves, n1), negatives.reshape(trials, curves, -1)
    parts = components(high.reshape(trials * curves, n1), low.reshape(trials * curves, -1))
    errors = np.empty((trials, curves, curves))
    for t in range(trials):
        rows = slice(t * curves, (t + 1) * curves)
        own = Components(parts.auc[rows], parts.v10[rows], parts.v01[rows])
        errors[t] = COVARIANCES[covariance](own, high[t], low[t])
    foms = parts.auc.reshape(trials, 2, readers)
    var, cov1, cov2, cov3 = _block_means(errors.reshape(trials, 2, readers, 2, readers))
    change = foms[:, 0] - foms[:, 1]
    ms_t, ms_tr = readers * change.mean(axis=1) ** 2 / 2.0, change.var(axis=1, ddof=1) / 2.0
    if random == "cases":
        denominator = var - cov1 + (readers - 1) * (cov2 - cov3)
        df = np.full(trials, 1e12)
    else:
        denominator = ms_tr + (readers * np.maximum(cov2 - cov3, 0.0) if random == "readers_cases" else 0.0)
        df = (readers - 1) * np.divide(denominator, ms_tr, out=np.full(trials, 1e6), where=ms_tr > 1e-12) ** 2
    f = np.divide(ms_t, denominator, out=np.zeros(trials), where=denominator > 1e-12)
    if random == "readers":
        df = np.full(trials, readers - 1.0)
    return np.asarray(special.chdtrc(1.0, f) if random == "cases" else special.fdtrc(1.0, df, f))


def _block_means(errors: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Var, Cov1, Cov2 and Cov3 of each study; ``errors`` is ``[trials, 2, J, 2, J]``."""
    readers = errors.shape[2]
    own = np.einsum("tijij->t", errors)
    reader = np.einsum("tijkj->t", errors) - own
    treatment = np.einsum("tijil->t", errors) - own
    rest = errors.sum(axis=(1, 2, 3, 4)) - own - reader - treatment
    others = max(readers - 1, 1)
    return (
        own / (2 * readers),
        reader / (2 * readers),
        treatment / (2 * readers * others),
        rest / (2 * readers * others),
    )


def _both_below(h: float, k: float, rho: float) -> float:
    """P(X < h and Y < k) of two standard normals with correlation ``rho``, by Owen's T function (Owen 1956)."""
    if rho >= 1.0:
        return float(special.ndtr(min(h, k)))
    if h == 0.0 and k == 0.0:
        return 0.25 + math.asin(rho) / (2.0 * math.pi)
    root = math.sqrt(1.0 - rho**2)

    def part(a: float, b: float) -> float:
        if a == 0.0:
            return 0.25 * math.copysign(1.0, b)
        return float(special.owens_t(a, (b - rho * a) / (a * root)))

    opposite = 0.5 if h * k < 0 or (h * k == 0 and h + k < 0) else 0.0
    return 0.5 * float(special.ndtr(h) + special.ndtr(k)) - part(h, k) - part(k, h) - opposite
