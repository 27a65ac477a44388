"""How well a map says where people look: NSS, CC, KL, SIM and AUC, and the maps of fixations they are taken against.

A map is [rows, columns]; pixel centres are whole numbers, x is the column. Every measure is None where it is not
defined (a flat map, no fixation on the image), never NaN.

Definitions: Bylinskii, Judd, Oliva, Torralba & Durand, "What do different evaluation metrics tell us about saliency
models?" (IEEE PAMI 41, 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)


def fixation_density(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rows: int,
    columns: int,
    ppd_x: ArrayLike,
    ppd_y: ArrayLike,
    sigma_deg: float = 1.0,
    weights: ArrayLike | None = None,
    shape: tuple[int, int] | None = None,
) -> Floats | None:
    """Where fixations lie, blurred by a Gaussian of a given visual angle.

    Parameters
    ----------
    x, y
        Fixations in image pixels, [K]. One beside the image adds the part of its Gaussian that lies on it.
    rows, columns
        Size of the image in pixels.
    ppd_x, ppd_y
        Image pixels per degree along columns and rows, one number or [K]: zoom changes them from fixation to fixation,
        and they differ from each other where pixels are not square.
    sigma_deg
        Standard deviation in degrees. About one degree is the fovea, and the usual choice (Le Meur & Baccino, "Methods
        for comparing scanpaths and saliency maps", Behavior Research Methods 45, 2013).
    weights
        Weight of each fixation, such as its duration, [K]; equal if omitted.
    shape
        Rows and columns of the map, each cell a share of the image; the image's own if omitted.

    Returns
    -------
    Floats | None
        A density over the cells with sum 1; None where nothing falls on the image.

    Raises
    ------
    ValueError
        Arrays of different lengths, or a sigma, a size or a number of pixels per degree that is not positive.
    """
    px, py = np.atleast_1d(np.asarray(x, dtype=np.float64)), np.atleast_1d(np.asarray(y, dtype=np.float64))
    if px.shape != py.shape or px.ndim != 1:
        raise ValueError(f"x and y have shapes {list(px.shape)} and {list(py.shape)}; both are [K].")
    weight = np.ones(len(px)) if weights is None else np.asarray(weights, dtype=np.float64)
    high, wide = shape or (rows, columns)
    if min(rows, columns, high, wide) < 1 or not sigma_deg > 0:
        raise ValueError("The sizes and sigma_deg have to be positive.")
    spread = [np.broadcast_to(sigma_deg * np.asarray(ppd, dtype=np.float64), px.shape) for ppd in (ppd_x, ppd_y)]
    use = np.isfinite(px) & np.isfinite(py) & (weight > 0)
    if not all((np.isfinite(s[use]) & (s[use] > 0)).all() for s in spread):
        raise ValueError("The pixels per degree have to be positive for every fixation.")
    across = _gaussian(px[use], spread[0][use], (np.arange(wide) + 0.5) * columns / wide - 0.5)
    down = _gaussian(py[use], spread[1][use], (np.arange(high) + 0.5) * rows / high - 0.5)
    # Separable for each fixation, so that the sum over all of them is one matrix product. The factor keeps the weight
    # of a fixation the same whatever its spread.
    factor = weight[use] / (spread[0][use] * spread[1][use])
    density = (down * factor[:, None]).T @ across
    total = density.sum()
    return density / total if total > 0 else None


def _gaussian(centre: Floats, sigma: Floats, at: Floats) -> Floats:
    return np.exp(-0.5 * ((at[None, :] - centre[:, None]) / sigma[:, None]) ** 2)


def fixation_counts(x: ArrayLike, y: ArrayLike, *, rows: int, columns: int) -> NDArray[np.int64]:
    """How many fixations fall on each pixel, [rows, columns]; those beside the image on none."""
    counts = np.zeros((rows, columns), dtype=np.int64)
    row, column = _pixels(x, y, rows, columns)
    np.add.at(counts, (row, column), 1)
    return counts


def nss(saliency: ArrayLike, x: ArrayLike, y: ArrayLike) -> float | None:
    """Normalised scanpath saliency: mean of the standardised map over the fixations; chance is 0, no upper bound.

    Peters, Iyer, Itti & Koch, "Components of bottom-up gaze allocation in natural images" (Vision Research 45, 2005).
    None for a flat map or without a fixation on the image.
    """
    grid = _map(saliency)
    at = grid[_pixels(x, y, *grid.shape)]
    spread = _spread(grid)
    return float((at.mean() - grid.mean()) / spread) if len(at) and spread else None


def cc(p: ArrayLike, q: ArrayLike) -> float | None:
    """Pearson's correlation of two maps, -1 to 1; None where one of them is flat."""
    a, b = _two(p, q)
    spread = _spread(a), _spread(b)
    if not spread[0] or not spread[1]:
        return None
    return float(np.clip(((a - a.mean()) * (b - b.mean())).mean() / (spread[0] * spread[1]), -1, 1))


def sim(p: ArrayLike, q: ArrayLike) -> float | None:
    """Similarity, or histogram intersection: Σ min(p, q) of two densities, 0 (nowhere together) to 1 (equal).

    The maps may have any positive sum. None where one is zero everywhere.
    """
    a, b = (_density(m) for m in _two(p, q))
    return None if a is None or b is None else float(np.minimum(a, b).sum())


def kl(saliency: ArrayLike, density: ArrayLike) -> float | None:
    """Kullback–Leibler divergence of the map from the density of fixations, Σ q ln(ε + q / (p + ε)), nats; 0 is equal.

    The ε (2.2·10⁻¹⁶) keeps it finite where the map says nobody looks: such a map is punished heavily, not for ever.
    The maps may have any positive sum. None where one is zero everywhere.
    """
    p, q = (_density(m) for m in _two(saliency, density))
    if p is None or q is None:
        return None
    return float((q * np.log(_EPSILON + q / (p + _EPSILON))).sum())


def auc_judd(saliency: ArrayLike, x: ArrayLike, y: ArrayLike) -> float | None:
    """Area under the ROC curve of the map as a classifier of fixated against all other pixels; chance is 0.5.

    Judd, Ehinger, Durand & Torralba, "Learning to predict where humans look" (ICCV 2009). Each fixation is a positive,
    each pixel without one a negative. The area is exact (Mann–Whitney) and equal values count half; the published
    script breaks ties by noise and joins the curve's points at the K fixations' values by straight lines, which adds at
    most 1 / 2K. None without a fixation on the image, or without a pixel that has none.
    """
    grid = _map(saliency)
    row, column = _pixels(x, y, *grid.shape)
    free = np.ones(grid.shape, dtype=bool)
    free[row, column] = False
    return _area(grid[row, column], grid[free])


def auc_borji(saliency: ArrayLike, x: ArrayLike, y: ArrayLike) -> float | None:
    """Area under the ROC curve of the map as a classifier of fixated against random pixels; chance is 0.5.

    Borji, Tavakoli, Sihite & Itti, "Analysis of scores, datasets, and models in visual saliency prediction" (ICCV
    2013). They average over draws of as many random pixels as there are fixations; this is the mean over all possible
    draws, so no random number enters. None without a fixation on the image.
    """
    grid = _map(saliency)
    return _area(grid[_pixels(x, y, *grid.shape)], grid.ravel())


def auc_shuffled(
    saliency: ArrayLike, x: ArrayLike, y: ArrayLike, other_x: ArrayLike, other_y: ArrayLike
) -> float | None:
    """Area under the ROC curve of the map as a classifier of fixations against those made on other images.

    Zhang, Tong, Marks, Shan & Cottrell, "SUN: A Bayesian framework for saliency using natural statistics" (Journal of
    Vision 8, 2008). A map that only knows that people look at the middle stays at chance, 0.5. None without a fixation
    of either kind on the image.
    """
    grid = _map(saliency)
    return _area(grid[_pixels(x, y, *grid.shape)], grid[_pixels(other_x, other_y, *grid.shape)])


def _area(positive: Floats, negative: Floats) -> float | None:
    """Share of (positive, negative) pairs in the right order, equal ones half."""
    if not len(positive) or not len(negative):
        return None
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    upto = np.searchsorted(ordered, positive, side="right")
    return float((below + upto).mean() / (2 * len(negative)))


def _map(values: ArrayLike) -> Floats:
    grid = np.asarray(values, dtype=np.float64)
    if grid.ndim != 2 or not grid.size:
        raise ValueError(f"A map has shape [rows, columns], got {list(grid.shape)}.")
    if not np.isfinite(grid).all():
        raise ValueError("The map holds values that are no numbers.")
    return grid


def _two(p: ArrayLike, q: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _map(p), _map(q)
    if a.shape != b.shape:
        raise ValueError(f"The maps have shapes {list(a.shape)} and {list(b.shape)}; bring them to one size first.")
    return a, b


def _density(grid: Floats) -> Floats | None:
    if (grid < 0).any():
        raise ValueError("The map has negative values; it is no density.")
    total = grid.sum()
    return grid / total if total > 0 else None


def _spread(grid: Floats) -> float:
    """Standard deviation over all pixels; 0 for a flat map, whatever rounding leaves."""
    return 0.0 if grid.min() == grid.max() else float(grid.std())


def _pixels(x: ArrayLike, y: ArrayLike, rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of each fixation that lies on the image."""
    px, py = np.atleast_1d(np.asarray(x, dtype=np.float64)), np.atleast_1d(np.asarray(y, dtype=np.float64))
    if px.shape != py.shape or px.ndim != 1:
        raise ValueError(f"x and y have shapes {list(px.shape)} and {list(py.shape)}; both are [K].")
    with np.errstate(invalid="ignore"):
        on = (px >= -0.5) & (px < columns - 0.5) & (py >= -0.5) & (py < rows - 0.5)
    return np.floor(py[on] + 0.5).astype(np.int64), np.floor(px[on] + 0.5).astype(np.int64)
