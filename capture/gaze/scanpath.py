"""How alike two scanpaths are: MultiMatch, ScanMatch, dynamic time warping and string edit distance, over many pairs.

Scanpaths are packed once (`Paths.of`); every measure takes pairs of their indices and answers one row a pair. A measure
that a pair does not have (too few fixations) is NaN in these arrays. The loops are compiled where numba is installed;
without it the same loops run as plain Python, some hundred times slower.

References
----------
- Jarodzka, Holmqvist & Nyström, "A vector-based, multidimensional scanpath similarity measure" (ETRA 2010); Dewhurst,
  Nyström, Jarodzka, Foulsham, Johansson & Holmqvist, "It depends on how you look at it: scanpath comparison in multiple
  dimensions with MultiMatch, a vector-based approach" (Behavior Research Methods 44, 2012).
- Cristino, Mathôt, Theeuwes & Gilchrist, "ScanMatch: a novel method for comparing fixation sequences" (Behavior
  Research Methods 42, 2010); Needleman & Wunsch (Journal of Molecular Biology 48, 1970).
- Berndt & Clifford, "Using dynamic time warping to find patterns in time series" (KDD Workshop 1994).
- Levenshtein (Soviet Physics Doklady 10, 1966); Brandt & Stark, "Spontaneous eye movements during visual imagery
  reflect the content of the visual scene" (Journal of Cognitive Neuroscience 9, 1997), for scanpaths as strings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

_njit: Any = None
with suppress(ImportError):
    from numba import njit as _njit

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(loop: F) -> F:
    """The loop compiled at its first call, and kept on disk for the next program where a folder can be written."""
    if _njit is None:
        return loop
    how = {"nogil": True, "error_model": "numpy"}
    try:
        out: F = _njit(cache=True, **how)(loop)
    except RuntimeError:  # numba found no folder to write to
        out = _njit(**how)(loop)
    return out


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The columns of `multimatch`.
DIMENSIONS: Final = ("shape", "direction", "length", "position", "duration")
#: Bins across and down: those of the ScanMatch paper.
BINS: Final = (12, 8)


@dataclass(frozen=True)
class Paths:
    """Scanpaths one after the other.

    Attributes
    ----------
    x, y
        Fixation positions, pixels, [sum of K].
    duration
        Fixation durations, seconds, [sum of K].
    offsets
        Path i is offsets[i] up to offsets[i + 1], [paths + 1].
    """

    x: Floats
    y: Floats
    duration: Floats
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, scanpaths: Iterable[ArrayLike]) -> Paths:
        """Pack scanpaths given as arrays [K, 3] of x, y (pixels) and duration (seconds), in order of time.

        Raises ValueError, naming the path, for another shape, a value that is no number or a negative duration.
        """
        parts = [np.zeros((0, 3))]
        for number, scanpath in enumerate(scanpaths):
            rows = np.asarray(scanpath, dtype=np.float64)
            if rows.size == 0:
                rows = rows.reshape(0, 3)
            if rows.ndim != 2 or rows.shape[1] != 3:
                raise ValueError(f"Scanpath {number} has shape {list(rows.shape)}; x, y and duration make [K, 3].")
            if not np.isfinite(rows).all():
                raise ValueError(f"Scanpath {number} holds a value that is no number; leave such fixations out.")
            if (rows[:, 2] < 0).any():
                raise ValueError(f"Scanpath {number} has a fixation of negative duration.")
            parts.append(rows)
        x, y, duration = np.concatenate(parts).T.copy()
        return cls(x, y, duration, np.cumsum([len(part) for part in parts], dtype=np.int64))

    def lengths(self) -> Ints:
        """Fixations in each path, [paths]."""
        return np.diff(self.offsets)


class Warping(NamedTuple):
    """`dtw`'s answer: summed distance along the cheapest alignment, and the mean over its steps, each [P]."""

    total: Floats
    mean: Floats


class Edits(NamedTuple):
    """`edit_distance`'s answer: insertions, deletions and substitutions [P], and 1 − distance / longer length [P]."""

    distance: Ints
    similarity: Floats


def all_pairs(n: int) -> Ints:
    """Every pair of n paths once, [n (n − 1) / 2, 2]."""
    return np.stack(np.triu_indices(n, 1), axis=1).astype(np.int64)


def _checked(paths: Paths, pairs: ArrayLike | None) -> Ints:
    if pairs is None:
        return all_pairs(len(paths))
    index = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    if len(index) and (index.min() < 0 or index.max() >= len(paths)):
        raise ValueError(f"The pairs name path {index.max()}; there are {len(paths)}, counted from 0.")
    return index


def _checked_size(size: tuple[float, float]) -> tuple[float, float]:
    width, height = (float(v) for v in size)
    if not (np.isfinite(width) and np.isfinite(height) and width > 0 and height > 0):
        raise ValueError(f"The size is {size}; width and height are positive numbers of pixels.")
    return width, height


# ── MultiMatch ────────────────────────────────────────────────────────────────────────────────────────────────────────


def multimatch(
    paths: Paths,
    pairs: ArrayLike | None = None,
    *,
    size: tuple[float, float],
    amplitude_px: float = 0.0,
    direction_deg: float = 0.0,
    duration_s: float = 0.0,
) -> Floats:
    """MultiMatch similarities, 0 (unlike) to 1 (alike).

    A path is its sequence of saccade vectors from fixation to fixation. Two sequences are aligned by the monotone path
    through the matrix of |u_i − v_j| that has the least sum; over the aligned pairs the median of each difference is
    taken: of the vectors (shape, over twice the diagonal), of their angles (direction, over π), of their lengths
    (length, over the diagonal), of their starting points (position, over the diagonal) and of the durations of the
    fixations they start from (duration, over the longer of the two).

    Parameters
    ----------
    paths
        The scanpaths.
    pairs
        Indices of the paths to compare, [P, 2]; all pairs if omitted.
    size
        Width and height of the screen or image in pixels; their diagonal normalises.
    amplitude_px, direction_deg, duration_s
        Simplification before the comparison, none by default. In turn, until nothing changes: two successive saccades
        less than `direction_deg` apart are joined where the fixation between them is shorter than `duration_s`; a
        saccade shorter than `amplitude_px` is joined with the next (the last one with that before it) where the
        fixation at either end of it is shorter than `duration_s`.

    Returns
    -------
    Floats
        [P, 5], columns `DIMENSIONS`; NaN where a path has fewer than three fixations.

    Notes
    -----
    Without simplification the numbers are those of multimatch-gaze 0.1.3. With it they are as well, except where a
    short last saccade is joined with the one before. That program then loses a vector if the one before was joined
    in the same turn (its path no longer ends where it ended), and in further turns takes an earlier fixation's
    duration for the last fixation's. Of 1,000 random walks of 20 fixations, 74 were simplified differently for
    these two reasons.
    """
    index = _checked(paths, pairs)
    diagonal = float(np.hypot(*_checked_size(size)))
    vectors, offsets = _vectors(paths)
    if len(vectors) and duration_s > 0 and (amplitude_px > 0 or direction_deg > 0):
        last = np.where(paths.lengths() > 0, paths.duration[np.maximum(paths.offsets[1:], 1) - 1], 0.0)
        left = _simplify(vectors, offsets, last, amplitude_px, float(np.radians(direction_deg)), duration_s)
        count = np.diff(offsets)
        place = np.arange(len(vectors)) - np.repeat(offsets[:-1], count)
        vectors, offsets = vectors[place < np.repeat(left, count)], np.r_[0, np.cumsum(left)]
    polar = np.stack([np.hypot(vectors[:, 2], vectors[:, 3]), np.arctan2(vectors[:, 3], vectors[:, 2])], axis=1)
    enough = (paths.lengths() >= 3)[index].all(axis=1)
    out = np.full((len(index), len(DIMENSIONS)), np.nan)
    out[enough] = 1 - _median_differences(vectors, polar, offsets, index[enough]) / (
        2 * diagonal, np.pi, diagonal, diagonal, 1.0
    )  # fmt: skip
    return out


def _vectors(paths: Paths) -> tuple[Floats, Ints]:
    """The saccades of every path: rows (start x, start y, dx, dy, duration before), and their offsets."""
    rows = np.column_stack([paths.x, paths.y, np.zeros_like(paths.x), np.zeros_like(paths.x), paths.duration])
    rows[:-1, 2:4] = np.diff(rows[:, :2], axis=0)
    last = np.zeros(len(rows), dtype=bool)
    last[paths.offsets[1:][paths.lengths() > 0] - 1] = True
    return rows[~last], np.r_[0, np.cumsum(np.maximum(paths.lengths() - 1, 0))]


@_compiled
def _simplify(rows: Floats, offsets: Ints, last: Floats, amplitude: float, angle: float, brief: float) -> Ints:
    """Join saccades in place until nothing changes; how many are left of each path, at its place, [paths].

    `last` is the duration of each path's last fixation.
    """
    left = np.zeros(len(offsets) - 1, np.int64)
    for p in range(len(left)):
        first, n = offsets[p], offsets[p + 1] - offsets[p]
        before = -1
        while n != before:
            before = n
            kept = i = first
            end = first + n
            while i < end:  # by direction
                joined = False
                if i + 1 < end and rows[i + 1, 4] < brief:
                    a = np.sqrt(rows[i, 2] ** 2 + rows[i, 3] ** 2)
                    b = np.sqrt(rows[i + 1, 2] ** 2 + rows[i + 1, 3] ** 2)
                    if a > 0 and b > 0:
                        cosine = (rows[i, 2] * rows[i + 1, 2] + rows[i, 3] * rows[i + 1, 3]) / (a * b)
                        joined = np.arccos(min(1.0, max(-1.0, cosine))) < angle
                i = _keep(rows, kept, i, joined)
                kept += 1
            end = kept
            kept = i = first
            while i < end:  # by amplitude
                after = rows[i + 1, 4] if i + 1 < end else last[p]
                short = np.sqrt(rows[i, 2] ** 2 + rows[i, 3] ** 2) < amplitude
                short = short and (rows[i, 4] < brief or after < brief)
                if short and i + 1 == end and kept > first:
                    rows[kept - 1, 2] += rows[i, 2]
                    rows[kept - 1, 3] += rows[i, 3]
                    i += 1
                else:
                    i = _keep(rows, kept, i, short and i + 1 < end)
                    kept += 1
            n = kept - first
        left[p] = n
    return left


@_compiled
def _keep(rows: Floats, at: int, i: int, joined: bool) -> int:
    """Write saccade i, joined with the next one or not, to its new place; the number of the one that follows."""
    for k in range(5):
        rows[at, k] = rows[i, k]
    if not joined:
        return i + 1
    rows[at, 2] += rows[i + 1, 2]
    rows[at, 3] += rows[i + 1, 3]
    return i + 2


@_compiled
def _median_differences(vectors: Floats, polar: Floats, offsets: Ints, pairs: Ints) -> Floats:
    """Median differences along each pair's best alignment, [P, 5]; `polar` holds the vectors' lengths and angles."""
    out = np.empty((len(pairs), 5))
    longest = 1
    for p in range(len(offsets) - 1):
        longest = max(longest, offsets[p + 1] - offsets[p])
    came = np.empty((longest, longest), np.int8)
    cost = np.empty(longest)
    differences = np.empty((5, 2 * longest))
    for p in range(len(pairs)):
        s, t = offsets[pairs[p, 0]], offsets[pairs[p, 1]]
        n, m = offsets[pairs[p, 0] + 1] - s, offsets[pairs[p, 1] + 1] - t
        # Least sum to each cell, one row kept; a diagonal step wins a tie.
        for i in range(n):
            ux, uy = vectors[s + i, 2], vectors[s + i, 3]
            corner, left = 0.0, 0.0
            for j in range(m):
                dx, dy = ux - vectors[t + j, 2], uy - vectors[t + j, 3]
                above = cost[j]
                best, step = corner, 0
                if i == 0 and j > 0:
                    best, step = left, 2
                elif j == 0 and i > 0:
                    best, step = above, 1
                elif i > 0:
                    if above < best:
                        best, step = above, 1
                    if left < best:
                        best, step = left, 2
                corner = above
                left = best + np.sqrt(dx * dx + dy * dy)
                cost[j] = left
                came[i, j] = step
        i, j, steps = n - 1, m - 1, 0
        while True:
            a, b = s + i, t + j
            dx, dy = vectors[a, 2] - vectors[b, 2], vectors[a, 3] - vectors[b, 3]
            differences[0, steps] = np.sqrt(dx * dx + dy * dy)
            turn = abs(polar[a, 1] - polar[b, 1])
            differences[1, steps] = 2 * np.pi - turn if turn > np.pi else turn
            differences[2, steps] = abs(polar[a, 0] - polar[b, 0])
            dx, dy = vectors[a, 0] - vectors[b, 0], vectors[a, 1] - vectors[b, 1]
            differences[3, steps] = np.sqrt(dx * dx + dy * dy)
            longer = max(vectors[a, 4], vectors[b, 4])
            differences[4, steps] = abs(vectors[a, 4] - vectors[b, 4]) / longer if longer > 0 else 0.0
            steps += 1
            if i == 0 and j == 0:
                break
            step = came[i, j]
            if step != 2:
                i -= 1
            if step != 1:
                j -= 1
        for k in range(5):
            middle = _smallest(differences[k], steps, steps // 2)
            if steps % 2 == 0:
                # What lies before the upper middle is not above it; the largest of those is the lower middle.
                lower = differences[k, 0]
                for q in range(1, steps // 2):
                    lower = max(lower, differences[k, q])
                middle = 0.5 * (lower + middle)
            out[p, k] = middle
    return out


@_compiled
def _smallest(values: Floats, n: int, k: int) -> float:
    """Value k of the first n in order of size; none before it is larger then (Hoare's selection, in place)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


# ── strings of bins ───────────────────────────────────────────────────────────────────────────────────────────────────


def letters(
    paths: Paths, *, size: tuple[float, float], bins: tuple[int, int] = BINS, bin_s: float = 0.0
) -> tuple[Ints, Ints]:
    """Each path as a string of bins.

    Parameters
    ----------
    paths
        The scanpaths, in pixels whose centres are whole numbers.
    size
        Width and height of the area in pixels. A fixation beside it takes the nearest bin.
    bins
        Bins across and down.
    bin_s
        A bin is repeated round(duration / bin_s) times, halves up, so that a fixation of less than half a time bin is
        left out; once for each fixation if 0.

    Returns
    -------
    (codes, offsets)
        Bin numbers row by row from 0, [letters]; path i is offsets[i] up to offsets[i + 1].
    """
    width, height = _checked_size(size)
    across, down = (int(v) for v in bins)
    if across < 1 or down < 1:
        raise ValueError(f"bins is {bins}; there is at least one across and one down.")
    if bin_s < 0:
        raise ValueError(f"bin_s is {bin_s}; a time bin is a positive number of seconds, or 0 for none.")
    column = np.clip(np.floor((paths.x + 0.5) / width * across), 0, across - 1).astype(np.int64)
    row = np.clip(np.floor((paths.y + 0.5) / height * down), 0, down - 1).astype(np.int64)
    codes = row * across + column
    if bin_s == 0:
        return codes, paths.offsets
    # 0.15 s in bins of 0.05 s are three, however binary fractions fall.
    repeats = np.floor(paths.duration / bin_s + 0.5 + 1e-9).astype(np.int64)
    return np.repeat(codes, repeats), np.r_[0, np.cumsum(repeats)][paths.offsets]


def scanmatch(
    paths: Paths,
    pairs: ArrayLike | None = None,
    *,
    size: tuple[float, float],
    bins: tuple[int, int] = BINS,
    bin_s: float = 0.05,
    threshold: float = 3.5,
    gap: float = 0.0,
) -> Floats:
    """ScanMatch: the normalised score of the best global alignment of two strings of bins.

    Two letters score `threshold` minus the Euclidean distance of their bins, counted in bins: the same bin scores most,
    bins further apart than the threshold count against the alignment. The score of the best alignment (Needleman &
    Wunsch) is divided by `threshold` times the longer string's length, so that two equal strings have 1.

    Parameters
    ----------
    paths, pairs, size
        As in `multimatch`.
    bins, bin_s
        See `letters`; the paper's time bin is 50 ms.
    threshold
        Distance in bins at which a substitution scores nothing. The paper sets it to twice the standard deviation of
        the saccades' amplitude.
    gap
        Score of leaving a letter out, at most 0. With 0 no score is negative.

    Returns
    -------
    Floats
        [P]; NaN where a path has no letter.
    """
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; it is a positive number of bins.")
    if gap > 0:
        raise ValueError(f"gap is {gap}; leaving a letter out cannot be rewarded, write 0 or less.")
    index = _checked(paths, pairs)
    codes, offsets = letters(paths, size=size, bins=bins, bin_s=bin_s)
    across, down = bins
    row, column = np.divmod(np.arange(across * down), across)
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    return _align(codes, offsets, index, threshold - distance, gap) / threshold


@_compiled
def _align(codes: Ints, offsets: Ints, pairs: Ints, score: Floats, gap: float) -> Floats:
    """Needleman–Wunsch over the longer length, [P]."""
    out = np.full(len(pairs), np.nan)
    longest = 0
    for p in range(len(offsets) - 1):
        longest = max(longest, offsets[p + 1] - offsets[p])
    row = np.empty(longest + 1)
    for p in range(len(pairs)):
        a = codes[offsets[pairs[p, 0]] : offsets[pairs[p, 0] + 1]]
        b = codes[offsets[pairs[p, 1]] : offsets[pairs[p, 1] + 1]]
        if len(a) == 0 or len(b) == 0:
            continue
        for j in range(len(b) + 1):
            row[j] = gap * j
        for i in range(len(a)):
            of = score[a[i]]
            corner = row[0]
            left = gap * (i + 1)
            row[0] = left
            for j in range(len(b)):
                above = row[j + 1]
                best = corner + of[b[j]]
                # max() would look for NaN, and this is the loop that counts.
                kept = (above if above > left else left) + gap
                left = best if best > kept else kept
                row[j + 1] = left
                corner = above
        out[p] = row[len(b)] / max(len(a), len(b))
    return out


def edit_distance(
    paths: Paths,
    pairs: ArrayLike | None = None,
    *,
    size: tuple[float, float],
    bins: tuple[int, int] = BINS,
    collapse: bool = False,
) -> Edits:
    """Levenshtein distance of two strings of bins, one letter a fixation.

    Parameters
    ----------
    paths, pairs, size
        As in `multimatch`.
    bins
        See `letters`.
    collapse
        Take successive fixations in one bin for one letter.

    Returns
    -------
    Edits
        distance [P]; similarity [P] is 1 − distance / longer length, NaN where neither path has a fixation.
    """
    index = _checked(paths, pairs)
    codes, offsets = letters(paths, size=size, bins=bins)
    if collapse and len(codes):
        new = np.r_[True, codes[1:] != codes[:-1]]
        new[offsets[:-1][np.diff(offsets) > 0]] = True
        codes, offsets = codes[new], np.r_[0, np.cumsum(new)][offsets]
    distance = _edits(codes, offsets, index)
    lengths = np.diff(offsets)
    longer = np.maximum(lengths[index[:, 0]], lengths[index[:, 1]])
    with np.errstate(invalid="ignore"):
        return Edits(distance, 1 - distance / np.where(longer > 0, longer, np.nan))


@_compiled
def _edits(codes: Ints, offsets: Ints, pairs: Ints) -> Ints:
    out = np.zeros(len(pairs), np.int64)
    longest = 0
    for p in range(len(offsets) - 1):
        longest = max(longest, offsets[p + 1] - offsets[p])
    row = np.empty(longest + 1, np.int64)
    for p in range(len(pairs)):
        a = codes[offsets[pairs[p, 0]] : offsets[pairs[p, 0] + 1]]
        b = codes[offsets[pairs[p, 1]] : offsets[pairs[p, 1] + 1]]
        for j in range(len(b) + 1):
            row[j] = j
        for i in range(len(a)):
            corner, left = row[0], i + 1
            row[0] = left
            for j in range(len(b)):
                above = row[j + 1]
                left = min(corner + (a[i] != b[j]), min(above, left) + 1)
                row[j + 1] = left
                corner = above
        out[p] = row[len(b)]
    return out


# ── dynamic time warping ──────────────────────────────────────────────────────────────────────────────────────────────


def dtw(paths: Paths, pairs: ArrayLike | None = None, *, unit: tuple[float, float] = (1.0, 1.0)) -> Warping:
    """Dynamic time warping of the fixation positions: every fixation is aligned with at least one of the other path.

    Parameters
    ----------
    paths, pairs
        As in `multimatch`.
    unit
        Pixels that make one along x and along y: (1, 1) for pixels, (ppd_x, ppd_y) for degrees, the image's width and
        height for shares of it.

    Returns
    -------
    Warping
        Distances in that unit; NaN where a path has no fixation. Of two equally cheap alignments the mean is taken over
        the one that steps diagonally.
    """
    width, height = _checked_size(unit)
    total, mean = _warp(paths.x / width, paths.y / height, paths.offsets, _checked(paths, pairs))
    return Warping(total, mean)


@_compiled
def _warp(x: Floats, y: Floats, offsets: Ints, pairs: Ints) -> tuple[Floats, Floats]:
    total = np.full(len(pairs), np.nan)
    mean = np.full(len(pairs), np.nan)
    longest = 0
    for p in range(len(offsets) - 1):
        longest = max(longest, offsets[p + 1] - offsets[p])
    cost = np.empty(longest)
    steps = np.empty(longest, np.int64)
    for p in range(len(pairs)):
        s, t = offsets[pairs[p, 0]], offsets[pairs[p, 1]]
        n, m = offsets[pairs[p, 0] + 1] - s, offsets[pairs[p, 1] + 1] - t
        if n == 0 or m == 0:
            continue
        for i in range(n):
            corner, corner_steps = 0.0, 0
            for j in range(m):
                dx, dy = x[s + i] - x[t + j], y[s + i] - y[t + j]
                above, above_steps = cost[j], steps[j]
                if i == 0 and j == 0:
                    best, taken = 0.0, 0
                elif i == 0:
                    best, taken = cost[j - 1], steps[j - 1]
                elif j == 0:
                    best, taken = above, above_steps
                else:
                    best, taken = corner, corner_steps
                    if above < best:
                        best, taken = above, above_steps
                    if cost[j - 1] < best:
                        best, taken = cost[j - 1], steps[j - 1]
                corner, corner_steps = above, above_steps
                cost[j] = best + np.sqrt(dx * dx + dy * dy)
                steps[j] = taken + 1
        total[p] = cost[m - 1]
        mean[p] = cost[m - 1] / steps[m - 1]
    return total, mean
