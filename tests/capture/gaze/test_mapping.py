from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.gaze import mapping
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates, screen_matrix, to_image

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "affine.json").read_text())
DISPLAY = Display(1280, 800, 344, 215, 600)


def record(a: list[float], **changes: Any) -> dict[str, Any]:
    state = {"a": a, "rect": [0, 0, 1280, 800], "dpr": 1.0, "screenX": 0.0, "screenY": 0.0, "visible": True}
    return {**state, **changes}


def states(*records: dict[str, Any], t: list[float] | None = None, size: int = 1000) -> ViewportStates:
    return ViewportStates.from_records(
        records, t if t is not None else list(range(len(records))), rows=size, columns=size, display=DISPLAY
    )


def forward(m: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.c_[m[0] * xy[:, 0] + m[2] * xy[:, 1] + m[4], m[1] * xy[:, 0] + m[3] * xy[:, 1] + m[5]]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: c["name"])
def test_the_golden_table_of_the_viewer_holds_in_both_directions(case: dict[str, Any]) -> None:
    golden = ViewportStates.from_records(
        [record(case["a"], rect=case["rect"], dpr=case["dpr"], screenX=case["screen"][0], screenY=case["screen"][1])],
        [0.0],
        rows=case["rows"],
        columns=case["columns"],
        display=DISPLAY,
    )
    image = np.array([p["image"] for p in case["points"]])
    screen = np.array([p["screen"] for p in case["points"]])
    np.testing.assert_allclose(forward(golden.matrix[0], image), screen, atol=GOLDEN["tolerance"])
    mapped = to_image(np.zeros(len(image)), screen, golden)
    np.testing.assert_allclose(mapped.image_xy, image, atol=GOLDEN["tolerance"])


def test_a_state_is_on_the_screen_from_its_time_until_the_next() -> None:
    s = states(record([1, 0, 0, 1, 0, 0]), record([2, 0, 0, 2, 0, 0]), t=[10.0, 11.0])
    mapped = to_image([9.99, 10.0, 10.999, 11.0, 99.0], np.full((5, 2), 100.0), s)
    np.testing.assert_allclose(mapped.image_xy[:, 0], [np.nan, 100, 100, 50, 50])
    assert mapped.state.tolist() == [-1, 0, 0, 1, 1]


def test_a_hidden_page_shows_no_image() -> None:
    s = states(record([1, 0, 0, 1, 0, 0]), record([1, 0, 0, 1, 0, 0], visible=False), t=[0.0, 1.0])
    mapped = to_image([0.5, 1.5], np.full((2, 2), 100.0), s)
    assert mapped.inside.tolist() == [True, False]
    assert np.isnan(mapped.image_xy[1]).all()


def test_gaze_beside_the_canvas_or_the_image_has_a_position_and_is_not_inside() -> None:
    s = states(record([1, 0, 0, 1, 0, 0], rect=[0, 0, 600, 600]), size=500)
    mapped = to_image([1, 1, 1, 1], [[499.4, 0], [499.6, 0], [-0.6, 0], [400, 601]], s)
    assert mapped.inside.tolist() == [True, False, False, False]
    assert mapped.image_xy[2].tolist() == pytest.approx([-0.6, 0])


def test_lost_gaze_stays_lost() -> None:
    mapped = to_image([1.0], [[np.nan, np.nan]], states(record([1, 0, 0, 1, 0, 0])))
    assert np.isnan(mapped.image_xy).all() and not mapped.inside[0]


def test_pixels_per_degree_follow_zoom_and_anisotropic_pixels() -> None:
    s = states(record([1, 0, 0, 2, 0, 0]), record([4, 0, 0, 8, 0, 0]))
    ppd_x, ppd_y = s.pixels_per_degree()
    degree_px = 600 * np.tan(np.radians(1)) / (344 / 1280)
    np.testing.assert_allclose(ppd_x, [degree_px, degree_px / 4])
    np.testing.assert_allclose(ppd_y, [degree_px / 2, degree_px / 8], rtol=1e-3)


def test_the_visible_rectangle_is_cut_at_the_image_and_at_the_canvas() -> None:
    s = states(record([4, 0, 0, 4, -400, -800]), record([0.5, 0, 0, 0.5, 100, 100]))
    np.testing.assert_allclose(s.visible_rect(), [[100, 200, 420, 400], [-0.5, -0.5, 999.5, 999.5]])


def test_grey_levels_do_not_make_a_new_view_and_a_pan_does() -> None:
    same = record([1, 0, 0, 1, 0, 0])
    assert states(same, same, record([1, 0, 0, 1, 1, 0]), same).views().tolist() == [0, 0, 1, 2]


def test_a_matrix_without_an_inverse_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="state 17"):
        states(record([0, 0, 0, 0, 0, 0], seq=17))


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(0, 360),
    flip=st.sampled_from([1, -1]),
    dpr=st.sampled_from([1.0, 1.25, 1.5, 2.0]),
    origin=st.tuples(st.floats(-2000, 2000), st.floats(-500, 500)),
    point=st.tuples(st.floats(-100, 3000), st.floats(-100, 3000)),
)
def test_mapping_back_finds_the_image_point(
    scale: float, angle: float, flip: int, dpr: float, origin: tuple[float, float], point: tuple[float, float]
) -> None:
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    a = [flip * cos, sin, -flip * sin, cos, 33.25, -71.5]
    matrix = screen_matrix(np.array([a]), np.array([origin]), np.array([dpr]))[0]
    screen = forward(matrix, np.array([point]))
    s = states(record(a, dpr=dpr, screenX=origin[0], screenY=origin[1]))
    np.testing.assert_allclose(to_image([1.0], screen, s).image_xy[0], point, atol=1e-6)


def test_pixels_per_degree_grow_away_from_the_displays_centre_as_the_angles_between_pixels_do() -> None:
    rng = np.random.default_rng(5)
    s = states(record([1.5, 0.4, -0.4, 3.0, 20, -30], screenX=40))
    screen = rng.uniform((0, 0), (1280, 800), (50, 2))
    mapped = to_image(np.ones(50), screen, s)
    for axis, ppd in ((0, mapped.ppd_x), (1, mapped.ppd_y)):
        step = np.eye(2)[axis] * 0.01
        ends = [forward(s.matrix[0], mapped.image_xy + sign * step) for sign in (-1, 1)]
        np.testing.assert_allclose(0.02 / DISPLAY.angle_between(*ends), ppd, rtol=3e-4)
    centre = to_image([1.0], [[640, 400]], s)
    assert (centre.ppd_x[0], centre.ppd_y[0]) == pytest.approx([p[0] for p in s.pixels_per_degree()])
    lost = to_image([1.0], [[np.nan, 400]], s)
    assert (lost.ppd_x[0], lost.ppd_y[0]) == pytest.approx([p[0] for p in s.pixels_per_degree()])


def test_every_moment_knows_what_part_of_the_image_was_shown_where_and_in_which_window() -> None:
    whole = record([0.5, 0, 0, 0.5, 100, 100], view={"wc": 40, "ww": 400}, focus=False, seq=7)
    part = record([4, 0, 0, 4, -400, -800], dpr=2.0, screenX=10.0, seq=8)
    beside = record([1, 0, 0, 1, 5000, 0], seq=9)
    s = states(whole, part, record([1, 0, 0, 1, 0, 0], visible=False, seq=10), beside, t=[1.0, 2.0, 3.0, 4.0])
    seen = s.seen(s.at([0.5, 1.5, 2.5, 3.5, 4.5]))
    edge = [-0.5, -0.5, 999.5, 999.5]
    nothing = [np.nan] * 4
    np.testing.assert_allclose(seen.image_rect, [nothing, edge, [100, 200, 420, 400], nothing, nothing])
    np.testing.assert_allclose(
        seen.screen_rect, [nothing, [99.75, 99.75, 599.75, 599.75], [20, 0, 2580, 1600], nothing, nothing]
    )
    np.testing.assert_array_equal(seen.window_width, [np.nan, 400, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(seen.window_level, [np.nan, 40, np.nan, np.nan, np.nan])
    assert seen.visible.tolist() == [False, True, True, False, True]
    assert seen.focus.tolist() == [False, False, True, False, True]
    assert seen.seq.tolist() == [-1, 7, 8, -1, 9]


def test_the_rectangles_of_a_mirrored_view_still_run_from_left_to_right() -> None:
    s = states(record([-2, 0, 0, 2, 1298, -300]))
    seen = s.seen([0])
    np.testing.assert_allclose(seen.image_rect, [[9, 150, 649, 550]])
    np.testing.assert_allclose(seen.screen_rect, [[0, 0, 1280, 800]])


def test_rectangles_of_another_recording_become_states_that_show_them() -> None:
    image, screen = [[-0.5, 99.5, 499.5, 599.5]], [[140.0, 0.0, 1140.0, 800.0]]
    s = ViewportStates.from_rectangles(
        [3.0], image, screen, window=[[2000.0, 900.0]], rows=1000, columns=1000, display=DISPLAY
    )
    seen = s.seen([0])
    np.testing.assert_allclose(seen.image_rect, image)
    np.testing.assert_allclose(seen.screen_rect, screen)
    assert (seen.window_width[0], seen.window_level[0]) == (2000, 900)
    np.testing.assert_allclose(to_image([4.0], [[640, 400]], s).image_xy, [[249.5, 349.5]])
    with pytest.raises(ValueError, match="Row 0"):
        ViewportStates.from_rectangles([3.0], [[0, 0, 0, 5]], screen, rows=9, columns=9, display=DISPLAY)


def plain(t: float, u: float, v: float, s: ViewportStates) -> tuple[float, float, bool, float, float, int]:
    """One sample, by the formula as it is written down: the slow reference."""
    index = -1
    for k, since in enumerate(s.t):
        if since <= t:
            index = k
    if index < 0 or not s.shown[index]:
        return math.nan, math.nan, False, math.nan, math.nan, -1
    a, b, c, d, e, f = s.matrix[index]
    x, y = np.linalg.solve([[a, c], [b, d]], [u - e, v - f])
    left, top, width, height = s.rect[index]
    inside = -0.5 <= x <= s.columns - 0.5 and -0.5 <= y <= s.rows - 0.5
    inside = bool(inside and left <= u <= left + width and top <= v <= top + height)
    mm = np.array(DISPLAY.mm_per_px)
    at = [u, v] if math.isfinite(u + v) else [DISPLAY.width_px / 2, DISPLAY.height_px / 2]
    ray = np.r_[at * mm - [DISPLAY.width_mm / 2, DISPLAY.height_mm / 2], DISPLAY.distance_mm]
    ppd = [
        (ray @ ray) * math.tan(math.radians(1)) / np.linalg.norm(np.cross(ray, np.r_[np.array(pixel) * mm, 0.0]))
        for pixel in ((a, b), (c, d))
    ]
    return float(x), float(y), inside, float(ppd[0]), float(ppd[1]), index


@given(data=st.data(), ordered=st.booleans())
def test_the_mapping_is_the_plain_formula_for_every_sample(data: st.DataObject, ordered: bool) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    m, n = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 60))
    scale, angle = rng.uniform(0.1, 8, m), rng.choice([0, 90, 180, 33.0], m) * np.pi / 180
    flip = rng.choice([1, -1], m)
    aspect = rng.choice([1.0, 1.5], m)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    records = [
        record(
            [flip[k] * cos[k], sin[k], -flip[k] * sin[k] * aspect[k], cos[k] * aspect[k], *rng.uniform(-500, 500, 2)],
            dpr=float(rng.choice([1, 1.25, 2])),
            rect=[*rng.uniform(0, 50, 2), *rng.uniform(100, 1000, 2)],
            visible=bool(rng.random() < 0.8),
        )
        for k in range(m)
    ]
    # Times on a coarse grid, so that samples fall on the very moment of a state and states on one another.
    s = states(*records, t=[float(v) for v in np.sort(rng.integers(0, 20, m))])
    t = rng.integers(-2, 22, n).astype(float)
    if ordered:
        t.sort()
    else:
        t[rng.random(n) < 0.1] = np.nan
    screen = rng.uniform((-100, -100), (1400, 900), (n, 2))
    screen[rng.random(n) < 0.1] = np.nan
    mapped = to_image(t, screen, s)
    for i in range(n):
        x, y, inside, ppd_x, ppd_y, index = plain(t[i], *screen[i], s)
        np.testing.assert_allclose(mapped.image_xy[i], [x, y], rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose([mapped.ppd_x[i], mapped.ppd_y[i]], [ppd_x, ppd_y], rtol=1e-12)
        assert (mapped.inside[i], mapped.state[i]) == (inside, index)


def test_compiled_or_not_the_mapping_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    views = [
        record(
            [s * np.cos(w), s * np.sin(w), -s * np.sin(w), 1.3 * s * np.cos(w), *rng.uniform(-300, 300, 2)], dpr=1.25
        )
        for s, w in zip(rng.uniform(0.1, 5, 30), rng.choice([0, np.pi / 2, 0.3], 30), strict=True)
    ]
    views[7]["visible"] = False
    s = states(*views, t=np.sort(rng.uniform(0, 10, 30)).tolist())
    t, screen = np.sort(rng.uniform(-1, 11, 3000)), rng.uniform(-100, 1500, (3000, 2))
    screen[rng.random(3000) < 0.1] = np.nan
    found = []
    for compiled in (False, True):
        monkeypatch.setattr(mapping._map_each, "pays", lambda samples, answer=compiled: answer)
        found.append(to_image(t, screen, s))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_recording_longer_than_what_is_mapped_at_a_time_has_no_seams() -> None:
    rng = np.random.default_rng(9)
    s = states(*[record([1 + k, 0, 0, 1 + k, k, -k]) for k in range(40)], t=np.sort(rng.uniform(0, 10, 40)).tolist())
    t, screen = np.sort(rng.uniform(-1, 11, 50_000)), rng.uniform(0, 1280, (50_000, 2))
    whole = to_image(t, screen, s)
    places = rng.permutation(50_000)[:500]
    single = to_image(t[places], screen[places], s)
    for one, other in zip(whole, single, strict=True):
        np.testing.assert_array_equal(one[places], other)
