from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

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
