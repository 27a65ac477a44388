"""Figures of merit of free-response studies, where a case may carry any number of rated marks (:mod:`.marks`).

With y_h the highest NL rating on case h (−∞ without one), z_l the rating of lesion l (−∞
unmarked) and ψ(y, z) = 1 if z > y, ½ if z = y, 0 if z < y, the figures of merit of one reader under one treatment are

    wAFROC   mean over normal cases h and diseased cases d of Σ over the lesions l of d of w_l ψ(y_h, z_l), Σ w_l = 1
    AFROC    mean over normal cases h and all lesions l of ψ(y_h, z_l): a case counts as often as it has lesions
    wAFROC1, AFROC1   the same with h running over all cases, the diseased ones included
    HrAUC    the empirical ROC area of the highest rating of any mark on each case

Two unmarked things tie: ψ(−∞, −∞) = ½, which is what makes each figure the area under its curve once the curve's last
point is joined to (1, 1). NL marks on diseased cases do not enter wAFROC and AFROC.

Sources:
    Chakraborty & Berbaum, Medical Physics 31:2313 (2004): AFROC area and jackknife analysis (JAFROC).
    Chakraborty & Zhai, Medical Physics 43:2548 (2016): wAFROC, its curve, and the weights.
    Chakraborty, Observer Performance Methods for Diagnostic Imaging (2017), ch. 13–14: all of them in one notation.
    Efron & Stein, Annals of Statistics 9:586 (1981): the jackknife; DeLong et al., Biometrics 44:837 (1988): V10, V01.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.components import Components, components, delong_covariance
from analysis.stats.marks import Ints, Marks, read_marks
from analysis.stats.obuchowski_rockette import Truncation
from analysis.stats.options import check_bootstrap, check_level, check_margin, known, random_of
from analysis.stats.ratings import RatingsError
from analysis.stats.results import MULTIPLICITY, Multiplicity, Result, result_from

Floats = NDArray[np.float64]

FIGURES_OF_MERIT = ("wafroc", "afroc", "wafroc1", "afroc1", "hrauc")
COVARIANCES = ("jackknife", "delong", "bootstrap")

#: Each figure of merit as it is written.
WORDS = {"wafroc": "wAFROC", "afroc": "AFROC", "wafroc1": "wAFROC1", "afroc1": "AFROC1", "hrauc": "highest-rating AUC"}


@dataclass(frozen=True)
class Figures:
    """A figure of merit of C = I·J cells (treatment-major) with what its covariance needs.

    Attributes:
        foms: ``[C]``; NaN where there is no case to compute it from.
        why: why there is no covariance; empty where there is one.
        without: ``[C, n]``, the figure with each case left out; normal cases first, then diseased ones.
        parts: structural components whose DeLong covariance is the figure's; None where the figure has no two-sample
            form (wAFROC1 and AFROC1, where a diseased case also gives false positives).
        kernels: for the bootstrap, one ``[rows, n1]`` matrix per cell: the case-by-case sums of a_l ψ, its rows the
            cases that give false positives (normal ones first).
        sizes: ``[n1]``, what a diseased case adds to the denominator (1, or its number of lesions).
        everyone: whether diseased cases give false positives too.
    """

    foms: Floats
    why: str
    without: Floats
    parts: Components | None
    kernels: Callable[[], list[Floats]]
    sizes: Floats
    everyone: bool = False


def figures_of_merit(table: Marks, fom: str = "wafroc") -> Figures:
    """The figure of merit of every reader under every treatment, and its leave-one-case-out values in closed form.

    With a_l the weight of a lesion (1 for AFROC), m_d the sum over a case's lesions and M over all, s_d = Σ a_l times
    the mean of ψ over the K cases that give false positives, and A = Σ s_d / M:

        without diseased case d, two samples:  (M A − s_d) / (M − m_d)
        without normal case h:                 (K A − V01[h]) / (K − 1),  V01[h] = Σ a_l ψ(y_h, z_l) / M
        without d where d also gives a false positive: (K M A − K s_d − r_d + o_d) / ((K − 1)(M − m_d)),
            r_d = Σ over all lesions of a_l ψ(y_d, z_l), o_d the same over d's own lesions

    Raises:
        ValueError: weights are needed and the table was read without them.
    """
    everyone = fom in ("wafroc1", "afroc1")
    normal, diseased = np.flatnonzero(~table.truth), np.flatnonzero(table.truth)
    n0, n1 = len(normal), len(diseased)
    cells = table.shape[0] * table.shape[1]
    why = _why_not(fom, n0, n1, everyone)
    givers = np.concatenate([normal, diseased]) if everyone else normal
    k = len(givers)
    if n1 == 0 or k == 0:
        return Figures(np.full(cells, np.nan), why, np.empty((cells, 0)), None, list, np.empty(0))
    highest = table.highest.reshape(cells, -1)
    lesion_ratings = table.lesion_ratings.reshape(cells, -1)
    if fom == "hrauc":
        return _highest_rating(highest, lesion_ratings, table.lesion_case, normal, diseased, why)

    owner: Ints = np.searchsorted(diseased, table.lesion_case).astype(np.intp)
    a = np.ones(len(owner))
    if fom.startswith("w"):
        if table.weights is None:
            raise ValueError("The weighted figure of merit needs lesion weights, and the table was read without them.")
        a = table.weights
    sizes: Floats = np.bincount(owner, weights=a, minlength=n1).astype(np.float64)
    total = sizes.sum()
    foms, v10, v01 = np.empty(cells), np.empty((cells, n1)), np.empty((cells, n0))
    without = np.empty((cells, n0 + n1))
    for c in range(cells):
        y, z = highest[c, givers], lesion_ratings[c]
        share = _share_below(z, y)
        s = np.bincount(owner, weights=a * share, minlength=n1)
        r = _weight_above(y, z, a)
        # Rounded weights must not hide a perfect reader, whose variance is zero.
        foms[c] = share[0] if (share == share[0]).all() else s.sum() / total
        v01[c] = r[:n0] / total
        v10[c] = foms[c] + (s - sizes * foms[c]) * n1 / total
        if why:
            continue
        without[c, :n0] = (k * foms[c] - v01[c]) / (k - 1)
        if everyone:
            own_y = highest[c, diseased][owner]
            o = np.bincount(owner, weights=a * ((z > own_y) + 0.5 * (z == own_y)), minlength=n1)
            without[c, n0:] = (k * total * foms[c] - k * s - r[n0:] + o) / ((k - 1) * (total - sizes))
        else:
            without[c, n0:] = (total * foms[c] - s) / (total - sizes)

    def kernels() -> list[Floats]:
        return [_kernel(highest[c, givers], lesion_ratings[c], a, owner, n1) for c in range(cells)]

    return Figures(foms, why, without, None if everyone else Components(foms, v10, v01), kernels, sizes, everyone)


def _why_not(fom: str, n0: int, n1: int, everyone: bool) -> str:
    """Why there is no covariance, or none of the figure at all."""
    if n1 == 0:
        return f"not estimable, because no case is diseased: {WORDS[fom]} needs lesions"
    if n0 == 0 and not everyone:
        return f"not estimable, because no case is normal: {WORDS[fom]} takes its false positives from normal cases"
    if n1 < 2 or (n0 < 2 and not everyone):
        needed = "two diseased cases" if everyone else "two cases of each class"
        return f"not estimable, because a variance over cases needs {needed}; there are {n1} diseased and {n0} normal"
    return ""


def _highest_rating(
    highest: Floats, lesion_ratings: Floats, lesion_case: Ints, normal: Ints, diseased: Ints, why: str
) -> Figures:
    top = highest.copy()
    for position, case in enumerate(lesion_case):
        top[:, case] = np.maximum(top[:, case], lesion_ratings[:, position])
    parts = components(top[:, diseased], top[:, normal])
    auc, n0, n1 = parts.auc[:, None], len(normal), len(diseased)
    without = np.empty((len(auc), 0))
    if not why:
        without = np.concatenate([(n0 * auc - parts.v01) / (n0 - 1), (n1 * auc - parts.v10) / (n1 - 1)], axis=1)
    owner = np.arange(n1, dtype=np.intp)

    def kernels() -> list[Floats]:
        return [_kernel(row[normal], row[diseased], np.ones(n1), owner, n1) for row in top]

    return Figures(parts.auc, why, without, parts, kernels, np.ones(n1))


def _share_below(z: Floats, y: Floats) -> Floats:
    """Mean over y of ψ(y, z), for each z."""
    ordered = np.sort(y)
    return (np.searchsorted(ordered, z, "left") + np.searchsorted(ordered, z, "right")) / (2 * len(y))


def _weight_above(y: Floats, z: Floats, a: Floats) -> Floats:
    """Σ over lesions of a ψ(y, z), for each y."""
    order = np.argsort(z, kind="stable")
    running = np.r_[0.0, np.cumsum(a[order])]
    ordered = z[order]
    below, at_most = running[np.searchsorted(ordered, y, "left")], running[np.searchsorted(ordered, y, "right")]
    return running[-1] - (below + at_most) / 2


def _kernel(y: Floats, z: Floats, a: Floats, owner: Ints, n1: int) -> Floats:
    kernel = np.zeros((len(y), n1))
    psi = a * ((z > y[:, None]) + 0.5 * (z == y[:, None]))
    for position, case in enumerate(owner):
        kernel[:, case] += psi[:, position]
    return kernel


def covariance_of(figures: Figures, covariance: str = "jackknife", *, replicates: int = 2000, seed: int = 0) -> Floats:
    """Covariance over cases of the C figures of merit, ``[C, C]``.

    Args:
        covariance: "jackknife": (n−1)/n · Σ over all n cases of centred leave-one-out values, as RJafroc does.
            "delong": cov(V10)/n1 + cov(V01)/n0; AFROC is a ratio, so its V10 is linearised, A + (s_d − m_d A)·n1/M.
            "bootstrap": cases drawn with replacement within each class.
        replicates: how many draws the bootstrap makes.
        seed: of the bootstrap's generator.

    Raises:
        RatingsError: DeLong was asked for a figure in which diseased cases give false positives too.
    """
    if covariance == "jackknife":
        n = figures.without.shape[1]
        centred = figures.without - figures.without.mean(axis=1, keepdims=True)
        return (n - 1) / n * (centred @ centred.T)
    if covariance == "delong":
        if figures.parts is None:
            raise RatingsError(
                "DeLong's covariance needs normal and diseased cases to be two samples; with wAFROC1 and AFROC1 "
                "diseased cases give false positives too: use the jackknife."
            )
        return delong_covariance(figures.parts)
    rng = np.random.default_rng(seed)
    n1 = len(figures.sizes)
    n0 = figures.without.shape[1] - n1
    drawn0, drawn1 = _draws(rng, n0, replicates), _draws(rng, n1, replicates)
    givers = np.concatenate([drawn0, drawn1], axis=1) if figures.everyone else drawn0
    found = [
        ((givers @ kernel) * drawn1).sum(axis=1) / (givers.sum(axis=1) * (drawn1 @ figures.sizes))
        for kernel in figures.kernels()
    ]
    return np.atleast_2d(np.cov(np.array(found)))


def _draws(rng: np.random.Generator, n: int, samples: int) -> Floats:
    """How often each of n cases is drawn in each sample, ``[samples, n]``."""
    if n == 0:
        return np.empty((samples, 0))
    return rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float64)


def analyze_froc(
    marks: pd.DataFrame,
    truth: pd.DataFrame,
    fom: str = "wafroc",
    covariance: str = "jackknife",
    random: str = "readers_cases",
    margin: float | None = None,
    *,
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: Truncation = "truncate",
    equivalence: bool = False,
    multiplicity: str = "holm",
    readers: Sequence[object] | None = None,
    treatments: Sequence[object] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Result:
    """Compare treatments over readers and cases on a free-response figure of merit.

    Args:
        marks, truth, readers, treatments: see :func:`analysis.stats.marks.read_marks`.
        fom: "wafroc", "afroc", "wafroc1", "afroc1" or "hrauc".
        covariance, replicates, seed: see :func:`covariance_of`.
        random, margin, reference, alpha, equivalence, multiplicity: see :func:`analysis.stats.analyze`.
        truncation: of Cov2 − Cov3 when only cases are random; "truncate" follows RJafroc.

    Returns:
        The result of :func:`analysis.stats.analyze`; its ``auc`` holds the figures of merit.

    Raises:
        RatingsError: a table is faulty, or an argument names nothing known; one sentence.
    """
    known("fom", fom, FIGURES_OF_MERIT)
    known("covariance", covariance, COVARIANCES)
    known("truncation", truncation, ("none", "truncate"))
    known("multiplicity", multiplicity, MULTIPLICITY)
    law = random_of(random)
    check_margin(margin, equivalence=equivalence)
    check_level(alpha)
    check_bootstrap(replicates, seed)
    table = read_marks(marks, truth, weighted=fom.startswith("w"), readers=readers, treatments=treatments)
    figures = figures_of_merit(table, fom)
    errors = None if figures.why else covariance_of(figures, covariance, replicates=replicates, seed=seed)
    return result_from(
        fom=fom,
        covariance=covariance,
        random=law,
        margin=margin,
        alpha=alpha,
        reference=reference,
        readers=table.readers,
        treatments=table.treatments,
        diseased=int(table.truth.sum()),
        nondiseased=int((~table.truth).sum()),
        foms=figures.foms.reshape(table.shape),
        errors=errors,
        method_words=f"{WORDS[fom]}, {covariance_words(covariance, replicates, seed)}",
        conventions=conventions_of(fom, covariance),
        warnings=table.warnings,
        why=figures.why,
        truncation=truncation,
        equivalence=equivalence,
        multiplicity=cast(Multiplicity, multiplicity),
    )


def covariance_words(covariance: str, replicates: int = 2000, seed: int = 0) -> str:
    """The covariance as a method's name carries it."""
    if covariance == "bootstrap":
        return f"bootstrap covariances ({replicates} draws of cases, seed {seed})"
    return {"jackknife": "jackknife covariances", "delong": "DeLong covariances"}.get(
        covariance, f"{covariance} covariances"
    )


def conventions_of(fom: str, covariance: str) -> tuple[str, ...]:
    """What was decided about marks, figure and covariance, in sentences."""
    said = [
        "Several NL marks on a case: the highest counts. Unmarked is −∞, and two unmarked things tie, as in RJafroc."
    ]
    if fom in ("wafroc", "afroc"):
        said.append("False positives are those on normal cases; NL marks on diseased cases do not enter.")
    elif fom in ("wafroc1", "afroc1"):
        said.append("False positives are those on all cases, the diseased ones included.")
    else:
        said.append("A case's rating is the highest of any of its marks, NL or LL.")
    if fom.startswith("w"):
        said.append("Lesion weights sum to one within a case (sums within .005 of one are scaled to it).")
    elif fom.startswith("a"):
        said.append("Every lesion counts equally, so a case counts as often as it has lesions; weights are not used.")
    if covariance == "delong" and fom == "afroc":
        said.append("AFROC is a ratio of sums over diseased cases; DeLong's covariance is that of its linearisation.")
    if covariance == "bootstrap":
        said.append("Cases are drawn with replacement within each class.")
    return tuple(said)
