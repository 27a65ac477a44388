from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.gaze.scanpath import DIMENSIONS, Paths, all_pairs, dtw, edit_distance, letters, multimatch, scanmatch

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "multimatch.json").read_text())
SIZE = (1280.0, 720.0)

fixation = st.tuples(st.floats(0, 1279, width=32), st.floats(0, 719, width=32), st.floats(0.03125, 2, width=32))
scanpath = st.lists(fixation, min_size=0, max_size=9)


def fixations(*places: tuple[float, float], duration: float = 0.2) -> list[tuple[float, float, float]]:
    return [(x, y, duration) for x, y in places]


# ── MultiMatch ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_multimatch_gives_the_numbers_of_multimatch_gaze() -> None:
    found = multimatch(Paths.of(GOLDEN["paths"]), size=SIZE)
    np.testing.assert_allclose(found, GOLDEN["plain"], rtol=0, atol=1e-12)


def test_multimatch_gives_its_numbers_after_simplification_too() -> None:
    found = multimatch(Paths.of(GOLDEN["paths"]), size=SIZE, amplitude_px=150, direction_deg=45, duration_s=0.3)
    np.testing.assert_allclose(found, GOLDEN["simplified"], rtol=0, atol=1e-12)
    assert not np.allclose(found, GOLDEN["plain"])


def slow_multimatch(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Every monotone path through the matrix of differences, tried one by one."""
    u, v = np.diff(a[:, :2], axis=0), np.diff(b[:, :2], axis=0)
    cost = np.hypot(*(u[:, None] - v[None]).transpose(2, 0, 1))

    def walks(i: int, j: int):
        if (i, j) == (len(u) - 1, len(v) - 1):
            yield [(i, j)]
            return
        for di, dj in ((0, 1), (1, 0), (1, 1)):
            if i + di < len(u) and j + dj < len(v):
                for rest in walks(i + di, j + dj):
                    yield [(i, j), *rest]

    best = min(walks(0, 0), key=lambda walk: sum(cost[p] for p in walk))
    i, j = np.array(best).T
    angle = np.abs(np.arctan2(u[i, 1], u[i, 0]) - np.arctan2(v[j, 1], v[j, 0]))
    angle = np.minimum(angle, 2 * np.pi - angle)
    diagonal = np.hypot(*SIZE)
    duration = np.abs(a[i, 2] - b[j, 2]) / np.maximum(a[i, 2], b[j, 2])
    return [
        1 - np.median(cost[i, j]) / (2 * diagonal),
        1 - np.median(angle) / np.pi,
        1 - np.median(np.abs(np.hypot(*u[i].T) - np.hypot(*v[j].T))) / diagonal,
        1 - np.median(np.hypot(*(a[i, :2] - b[j, :2]).T)) / diagonal,
        1 - np.median(duration),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_alignment_is_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        np.column_stack([rng.uniform(0, 1280, k), rng.uniform(0, 720, k), rng.uniform(0.1, 0.6, k)]) for k in (6, 5)
    )
    np.testing.assert_allclose(multimatch(Paths.of([a, b]), size=SIZE)[0], slow_multimatch(a, b), atol=1e-12)


def test_a_path_is_all_like_itself() -> None:
    path = fixations((100, 100), (500, 120), (640, 700), (30, 300))
    assert multimatch(Paths.of([path, path]), size=SIZE).tolist() == [[1.0] * len(DIMENSIONS)]


def test_a_path_of_two_fixations_is_not_compared() -> None:
    paths = Paths.of([fixations((1, 1), (9, 9)), fixations((1, 1), (9, 9), (20, 3)), []])
    assert np.isnan(multimatch(paths, size=SIZE)).all()
    assert np.isnan(multimatch(paths, size=SIZE, amplitude_px=5, duration_s=1)).all()
    assert np.isnan(multimatch(Paths.of([[], []]), size=SIZE, amplitude_px=5, duration_s=1)).all()


def test_short_saccades_between_brief_fixations_are_joined_to_the_end_of_the_path() -> None:
    torn = fixations((100, 100), (500, 100), (510, 104), (515, 110), (520, 100), (900, 650), (905, 640), (910, 650))
    whole = fixations((100, 100), (520, 100), (910, 650))
    paths = Paths.of([torn, whole])
    near = multimatch(paths, size=SIZE, amplitude_px=60, duration_s=0.3)[0]
    assert near[0] > 0.98 and near[2] > 0.98
    assert near[0] > multimatch(paths, size=SIZE)[0, 0]


def test_long_fixations_keep_short_saccades_apart() -> None:
    path = fixations((100, 100), (500, 100), (510, 104), (900, 650), duration=0.5)
    other = fixations((5, 5), (700, 600), (90, 400))
    kept = multimatch(Paths.of([path, other]), size=SIZE, amplitude_px=60, direction_deg=45, duration_s=0.3)
    assert kept.tolist() == multimatch(Paths.of([path, other]), size=SIZE).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(scanpath, min_size=2, max_size=4))
def test_measures_keep_their_bounds_and_the_order_of_a_pair_does_not_matter(
    raw: list[list[tuple[float, float, float]]],
) -> None:
    paths, pairs = Paths.of(raw), all_pairs(len(raw))
    found = multimatch(paths, pairs, size=SIZE)
    enough = (paths.lengths() >= 3)[pairs].all(axis=1)
    assert (np.isfinite(found).all(axis=1) == enough).all()
    assert ((found[enough] >= 0) & (found[enough] <= 1)).all()
    for one, other in (
        (scanmatch(paths, pairs, size=SIZE), scanmatch(paths, pairs[:, ::-1], size=SIZE)),
        (dtw(paths, pairs).total, dtw(paths, pairs[:, ::-1]).total),
        (edit_distance(paths, pairs, size=SIZE).similarity, edit_distance(paths, pairs[:, ::-1], size=SIZE).similarity),
    ):
        np.testing.assert_allclose(one, other, atol=1e-9)
    score = scanmatch(paths, pairs, size=SIZE)
    assert ((score[np.isfinite(score)] >= 0) & (score[np.isfinite(score)] <= 1 + 1e-12)).all()


# ── ScanMatch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def slow_score(a: str, b: str, value, gap: float) -> float:
    """The best alignment by trying every one."""
    if not a or not b:
        return gap * (len(a) + len(b))
    return max(
        slow_score(a[1:], b[1:], value, gap) + value(a[0], b[0]),
        slow_score(a[1:], b, value, gap) + gap,
        slow_score(a, b[1:], value, gap) + gap,
    )


@pytest.mark.parametrize("gap", [0.0, -0.7])
@pytest.mark.parametrize("seed", range(3))
def test_scanmatch_is_the_best_of_all_alignments(seed: int, gap: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 12, k) for k in (5, 4))
    centre = lambda codes: [((c % 4 + 0.5) * 320 - 0.5, (c // 4 + 0.5) * 240 - 0.5, 0.1) for c in codes]  # noqa: E731
    value = lambda p, q: 2.0 - np.hypot(p % 4 - q % 4, p // 4 - q // 4)  # noqa: E731
    found = scanmatch(Paths.of([centre(a), centre(b)]), size=(1280, 720), bins=(4, 3), bin_s=0, threshold=2.0, gap=gap)
    assert found[0] == pytest.approx(slow_score(tuple(a), tuple(b), value, gap) / (2.0 * 5))


def test_equal_paths_score_one_and_far_ones_nothing() -> None:
    here, there = fixations((10, 10), (20, 10)), fixations((1270, 700), (1260, 710))
    assert scanmatch(Paths.of([here, here, there]), [[0, 1], [0, 2]], size=SIZE).tolist() == [1.0, 0.0]


def test_time_bins_repeat_a_letter_by_the_fixations_duration() -> None:
    paths = Paths.of([[(0, 0, 0.15), (1279, 0, 0.024), (0, 719, 0.026)], [(1279, 719, 0.1)]])
    codes, offsets = letters(paths, size=SIZE, bin_s=0.05)
    assert codes.tolist() == [0, 0, 0, 84, 95, 95] and offsets.tolist() == [0, 4, 6]
    assert letters(paths, size=SIZE)[0].tolist() == [0, 11, 84, 95]


def test_longer_looks_weigh_more_with_time_bins() -> None:
    a = [(10, 10, 0.6), (600, 300, 0.1)]
    same_long, same_short = [(10, 10, 0.6), (1270, 700, 0.1)], [(1270, 700, 0.6), (600, 300, 0.1)]
    long, short = scanmatch(Paths.of([a, same_long, same_short]), [[0, 1], [0, 2]], size=SIZE)
    assert long > 0.8 > 0.2 > short


def test_a_path_too_brief_for_a_time_bin_has_no_score() -> None:
    assert np.isnan(scanmatch(Paths.of([[(1, 1, 0.01)], [(1, 1, 0.5)]]), size=SIZE)).all()


# ── string edit, time warping ─────────────────────────────────────────────────────────────────────────────────────────


def word(text: str) -> list[tuple[float, float, float]]:
    return [(ord(letter) - 97.0, 0.0, 0.1) for letter in text]


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("flaw", "lawn", 2), ("intention", "execution", 5)],
)
def test_edit_distance_counts_the_fewest_edits(a: str, b: str, distance: int) -> None:
    found = edit_distance(Paths.of([word(a), word(b)]), size=(26, 1), bins=(26, 1))
    assert found.distance.tolist() == [distance]
    assert found.similarity[0] == pytest.approx(1 - distance / max(len(a), len(b)))


def test_collapsing_takes_successive_fixations_in_one_bin_once() -> None:
    paths = Paths.of([word("aabbbc"), [], word("cabc"), word("cccc")])
    found = edit_distance(paths, [[0, 2], [2, 3], [1, 1]], size=(26, 1), bins=(26, 1), collapse=True)
    assert found.distance.tolist() == [1, 3, 0]
    assert np.isnan(found.similarity[2])


def slow_dtw(a: np.ndarray, b: np.ndarray) -> float:
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0
    for i, j in itertools.product(range(len(a)), range(len(b))):
        step = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
        cost[i + 1, j + 1] = step + np.hypot(*(a[i, :2] - b[j, :2]))
    return float(cost[-1, -1])


def test_warping_sums_the_distances_of_the_cheapest_alignment() -> None:
    rng = np.random.default_rng(1)
    raw = [np.column_stack([rng.uniform(0, 900, (k, 2)), np.full(k, 0.2)]) for k in (7, 4, 1)]
    found = dtw(Paths.of(raw))
    np.testing.assert_allclose(found.total, [slow_dtw(raw[i], raw[j]) for i, j in all_pairs(3)])
    assert found.mean[1] == pytest.approx(found.total[1] / 7)


def test_waiting_costs_nothing_and_the_mean_is_over_steps() -> None:
    stay = fixations((0, 0), (0, 0), (30, 40), (30, 40), (30, 40))
    go = fixations((0, 0), (30, 40))
    away = fixations((0, 50), (30, 90))
    found = dtw(Paths.of([stay, go, away]), [[0, 1], [1, 2]], unit=(10, 10))
    assert found.total.tolist() == [0, 10] and found.mean.tolist() == [0, 5]
    assert np.isnan(dtw(Paths.of([stay, []])).total).all()


# ── packing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Paths.of([[(1, 2, 3)], [(1, 2)]]), r"Scanpath 1 has shape \[1, 2\]"),
        (lambda: Paths.of([[(1, np.nan, 0.1)]]), "Scanpath 0 holds a value that is no number"),
        (lambda: Paths.of([[(1, 2, -0.1)]]), "negative duration"),
        (lambda: dtw(Paths.of([[(1, 2, 0.1)]]), [[0, 1]]), "name path 1; there are 1"),
        (lambda: scanmatch(Paths.of([]), size=(0, 10)), "positive numbers of pixels"),
        (lambda: scanmatch(Paths.of([]), size=SIZE, gap=1), "cannot be rewarded"),
        (lambda: scanmatch(Paths.of([]), size=SIZE, threshold=0), "threshold"),
        (lambda: letters(Paths.of([]), size=SIZE, bins=(0, 3)), "bins"),
    ],
)
def test_what_is_no_scanpath_is_refused_with_a_sentence(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_without_pairs_there_is_no_row() -> None:
    paths = Paths.of([fixations((1, 1), (2, 2), (3, 3))])
    assert multimatch(paths, size=SIZE).shape == (0, 5)
    assert (
        len(scanmatch(paths, size=SIZE)) == len(dtw(paths).total) == len(edit_distance(paths, size=SIZE).distance) == 0
    )


def test_the_same_numbers_come_without_numba() -> None:
    """A station or a script without the compiler gets the same answers, only later."""
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import json, numpy as np\n"
        "from capture.gaze.scanpath import *\n"
        "paths = Paths.of(json.load(sys.stdin))\n"
        "print(json.dumps([multimatch(paths, size=(1280, 720), amplitude_px=150, direction_deg=45, duration_s=0.3)"
        ".tolist(), scanmatch(paths, size=(1280, 720), bin_s=0.2).tolist(), dtw(paths).mean.tolist(),"
        " edit_distance(paths, size=(1280, 720)).distance.tolist()]))"
    )
    few = GOLDEN["paths"][:4]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(few), capture_output=True, text=True, check=True
    )
    paths = Paths.of(few)
    plain = json.loads(done.stdout)
    compiled = (
        multimatch(paths, size=SIZE, amplitude_px=150, direction_deg=45, duration_s=0.3),
        scanmatch(paths, size=SIZE, bin_s=0.2),
        dtw(paths).mean,
        edit_distance(paths, size=SIZE).distance,
    )
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
