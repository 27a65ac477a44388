"""Gaze maps: sums of Gaussians on a grid, and the maps as the published recipe shows them (arXiv 2604.14316).

The recipe stamps one Gaussian a sample, cut to the square of radius int(3 max σ) around its pixel, and adds them up
pixel by pixel. A cut Gaussian is a column times a row, so the sum over samples is a matrix product: the samples are
taken tile by tile, and each tile adds `downᵀ · across` to the pixels it reaches. Samples of one pixel whose σ differ by
less than half a hundredth are one term: their mean Gaussian, to second order in σ's spread. What that leaves out, and
float32, is below 3e-6 of the sum, about as much as the recipe loses by adding up in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TILE: Final = 32
"""Edge of the tiles that samples are taken by, pixels: small enough to waste no products, large enough to be few."""
ALIKE: Final = 0.005
"""σ of one term differ by no more than this share."""
OFFSET: Final = 1e-6
"""Added before the logarithm in the recipe; so a map's empty pixels are not quite zero."""


@dataclass(frozen=True, eq=False)
class Field:
    """A map that is zero outside a window: `values` float32 [h, w] with their first pixel at (top, left) of `shape`."""

    values: NDArray[np.float32]
    top: int
    left: int
    shape: tuple[int, int]

    @property
    def top_value(self) -> np.float32:
        """The largest value; 0 for a map without any sample on it."""
        return self.values.max() if self.values.size else np.float32(0)

    def whole(self) -> NDArray[np.float32]:
        """The map with its zeros, float32 [shape]."""
        return self.placed(self.values, np.float32(0))

    def logarithm(self) -> tuple[NDArray[np.float32], np.float32]:
        """log(1 + value + 1e-6) over its maximum, of a map that is not empty: in the window [h, w], and elsewhere."""
        shown = np.log1p(self.values + np.float32(OFFSET))
        top = shown.max()
        return shown / top, np.log1p(np.float32(OFFSET)) / top

    def shown(self) -> NDArray[np.float32]:
        """The map as the recipe shows it, float32 [shape], largest value 1; zeros for an empty one."""
        if not self.top_value > 0:
            return self.whole()
        return self.placed(*self.logarithm())

    def placed(self, values: NDArray[np.float32], rest: np.float32) -> NDArray[np.float32]:
        """Values of the window, [h, w], in a map that is `rest` everywhere else, float32 [shape]."""
        out = np.full(self.shape, rest, np.float32)
        h, w = values.shape
        out[self.top : self.top + h, self.left : self.left + w] = values
        return out


def stamped(
    shape: tuple[int, int],
    column: Ints,
    row: Ints,
    sigma_x: Floats,
    sigma_y: Floats,
    weight: Floats | None = None,
) -> Field:
    """Sum of Gaussians, each cut to the square of radius int(3 max σ) around its pixel and to the map.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    column, row
        Pixel of each Gaussian, [N]. Those that do not lie on the map add nothing.
    sigma_x, sigma_y
        Standard deviations in pixels of the map, [N]; positive.
    weight
        Height of each Gaussian, [N]; default 1.

    Returns
    -------
    Field
        The sum, with a window that holds every pixel reached.
    """
    on = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
    if not on.any():
        return Field(np.zeros((0, 0), np.float32), 0, 0, shape)
    height = np.ones(len(column)) if weight is None else weight
    terms = _merged(column[on], row[on], sigma_x[on], sigma_y[on], height[on])
    tile_x, tile_y = terms.column // TILE, terms.row // TILE
    reach = int(terms.radius.max())
    across = _profiles(terms.column - tile_x * TILE, terms.radius, terms.a, terms.var_a, reach)
    down = _profiles(terms.row - tile_y * TILE, terms.radius, terms.b, terms.var_b, reach)
    down *= terms.weight[:, None].astype(np.float32)
    edge = TILE + 2 * reach
    first_x, first_y = int(tile_x.min()), int(tile_y.min())
    out = np.zeros(
        ((int(tile_y.max()) - first_y) * TILE + edge, (int(tile_x.max()) - first_x) * TILE + edge), np.float32
    )
    cuts = [0, *(np.flatnonzero((np.diff(tile_x) != 0) | (np.diff(tile_y) != 0)) + 1).tolist(), len(tile_x)]
    for start, stop in pairwise(cuts):
        y, x = (int(tile_y[start]) - first_y) * TILE, (int(tile_x[start]) - first_x) * TILE
        out[y : y + edge, x : x + edge] += down[start:stop].T @ across[start:stop]
    top, left = first_y * TILE - reach, first_x * TILE - reach
    seen = out[max(0, -top) : shape[0] - top, max(0, -left) : shape[1] - left]
    return Field(seen, max(0, top), max(0, left), shape)


@dataclass(frozen=True, eq=False)
class _Terms:
    """Gaussians of one pixel and radius and nearly one σ, tile by tile, [G] each.

    `weight` is the sum of theirs; a = 1 / 2σx² and b = 1 / 2σy² are their means, with their variances.
    """

    column: Ints
    row: Ints
    radius: Ints
    weight: Floats
    a: Floats
    var_a: Floats
    b: Floats
    var_b: Floats


def _merged(column: Ints, row: Ints, sigma_x: Floats, sigma_y: Floats, weight: Floats) -> _Terms:
    radius = (3 * np.maximum(sigma_x, sigma_y)).astype(np.int64)
    alike = [np.floor(np.log(sigma) / ALIKE).astype(np.int64) for sigma in (sigma_x, sigma_y)]
    key = np.zeros(len(column), np.int64)
    for part in (row // TILE, column // TILE, row % TILE, column % TILE, radius, *alike):
        low = part.min()
        key = key * (part.max() - low + 1) + (part - low)
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    total: Floats = np.bincount(which, weight).astype(np.float64)
    moments: list[Floats] = []
    for values in (0.5 / sigma_x**2, 0.5 / sigma_y**2):
        mean = np.bincount(which, weight * values) / total
        moments += [mean, np.bincount(which, weight * (values - mean[which]) ** 2) / total]
    return _Terms(column[first], row[first], radius[first], total, *moments)


def _profiles(place: Ints, radius: Ints, a: Floats, var_a: Floats, reach: int) -> NDArray[np.float32]:
    """The mean of exp(−a d²) over a's spread, up to the radius, then 0: [G, TILE + 2 reach].

    `place` is where each lies in its tile; the profile begins `reach` pixels before the tile and ends as far behind it.
    """
    away = (np.arange(-reach, TILE + reach) - np.arange(TILE)[:, None]).astype(np.float32) ** 2
    square = away[place]
    out = square * (-a).astype(np.float32)[:, None]
    np.exp(out, out=out)
    if var_a.max() > 0:
        spread = square * square
        spread *= (0.5 * var_a).astype(np.float32)[:, None]
        spread += 1
        out *= spread
    out *= square <= (radius**2).astype(np.float32)[:, None]
    return out
