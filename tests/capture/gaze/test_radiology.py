from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.gaze import radiology
from capture.gaze.radiology import Area, Assistance, Finding, Parameters
from capture.gaze.track import FixationTable, GazeTrack

ROWS, COLUMNS = 400, 300
BOX = Area.of_box([100, 100, 140, 180])


def table(*looks: tuple[float, float, float, float], ppd: tuple[float, float] = (20.0, 20.0)) -> FixationTable:
    """Fixations from (x, y, onset, duration)."""
    x, y, onset, duration = np.array(looks, dtype=np.float64).reshape(-1, 4).T.copy()
    k = len(x)
    return FixationTable(x, y, onset, duration, np.zeros(k, np.int64), np.full(k, ppd[0]), np.full(k, ppd[1]))


def track(fixations: FixationTable, *, seconds: float = 10.0, shown_from: float = 0.0, loss: float = 0.0) -> GazeTrack:
    """A recording at 100 Hz of which only the fixations matter; the image appears at `shown_from`."""
    t = np.arange(0, seconds, 0.01)
    state = np.where(t >= shown_from, 0, -1)
    nothing = np.full(len(t), np.nan)
    return GazeTrack(
        0.0, t, nothing, nothing, state >= 0, state, nothing, nothing, nothing, nothing, fixations, {"data_loss": loss}
    )


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_angle_to_a_box_is_measured_in_each_axis_own_scale() -> None:
    x, y = [120, 90, 150, 90, 120], [150, 150, 190, 90, 80]
    found = BOX.distance_deg(x, y, [20] * 5, [10] * 5)
    assert found.tolist() == pytest.approx([0, 0.5, math.hypot(0.5, 1), math.hypot(0.5, 1), 2])


shapes = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12)


@given(shapes)
def test_box_outline_and_mask_of_one_rectangle_agree(points: list[tuple[int, int]]) -> None:
    x, y = (np.array(axis, dtype=np.float64) + 0.25 for axis in zip(*points, strict=True))
    mask = np.zeros((70, 70), dtype=bool)
    mask[20:41, 10:31] = True
    edges = [9.5, 19.5, 30.5, 40.5]
    corners = [(9.5, 19.5), (30.5, 19.5), (30.5, 40.5), (9.5, 40.5)]
    scale = np.full(len(x), 7.0), np.full(len(x), 3.0)
    box, outline, pixels = Area.of_box(edges), Area.of_outline(corners), Area.of_mask(mask)
    expected = box.distance_deg(x, y, *scale)
    np.testing.assert_allclose(outline.distance_deg(x, y, *scale), expected, atol=1e-12)
    np.testing.assert_allclose(pixels.distance_deg(x, y, *scale), expected, atol=1e-12)
    assert (box.contains(x, y) == outline.contains(x, y)).all() and (box.contains(x, y) == pixels.contains(x, y)).all()


def test_the_angle_to_an_outline_is_that_to_its_nearest_edge_point() -> None:
    outline = np.array([(10, 10), (60, 20), (40, 70), (30, 30)], dtype=np.float64)  # with a notch
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 80, (2, 40))
    along = np.linspace(0, 1, 2001)[:, None]
    rim = np.concatenate([a + along * (b - a) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)])
    slow = np.hypot((rim[:, 0] - x[:, None]) / 8, (rim[:, 1] - y[:, None]) / 5).min(axis=1)
    area = Area.of_outline(outline)
    found = area.distance_deg(x, y, np.full(40, 8.0), np.full(40, 5.0))
    inside = area.contains(x, y)
    assert 0 < inside.sum() < 40 and (found[inside] == 0).all()
    np.testing.assert_allclose(found[~inside], slow[~inside], atol=1e-2)
    assert not area.contains(25.0, 31.0) and area.contains(40.0, 40.0)


def test_a_fixation_without_a_scale_is_on_an_area_only_from_inside() -> None:
    found = BOX.distance_deg([120, 90], [150, 150], [np.nan] * 2, [np.nan] * 2)
    assert found.tolist() == [0, np.inf]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Area(), "a box, an outline or a mask"),
        (lambda: Area.of_box([5, 5, 4, 9]), "x0 ≤ x1"),
        (lambda: Area.of_box([0, 0, np.nan, 9]), "x0 ≤ x1"),
        (lambda: Area.of_outline([(0, 0), (1, 1)]), "three points"),
        (lambda: Area.of_mask(np.zeros((3, 3))), "no pixel"),
    ],
)
def test_what_is_no_area_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


# ── looking at an area ────────────────────────────────────────────────────────────────────────────────────────────────


def test_looks_are_counted_timed_and_grouped_into_visits() -> None:
    path = table(
        (10, 10, 0.0, 0.3), (120, 120, 0.4, 0.2), (130, 170, 0.7, 0.5), (290, 390, 1.3, 0.3), (110, 110, 1.7, 0.25)
    )
    looks = radiology.looks_at(path, BOX, field_deg=0, start_s=0.1)
    assert looks.time_to_first_fixation_s == pytest.approx(0.3)
    assert looks.dwell_s == pytest.approx(0.95) and looks.fixations == 3
    assert (looks.visits, looks.revisits) == (2, 1) and looks.longest_visit_s == pytest.approx(0.7)


def test_what_was_never_fixated_has_no_time_to_it() -> None:
    looks = radiology.looks_at(table((10, 10, 0.0, 0.3)), BOX, field_deg=5)
    assert looks == radiology.Looks(None, 0.0, 0, 0, 0, None)
    assert radiology.looks_at(table(), BOX, field_deg=5).time_to_first_fixation_s is None


def test_the_useful_field_is_a_circle_on_the_screen_and_an_ellipse_in_the_image() -> None:
    # 45 px left of the box: 2.25° at 20 px/°, 4.5° where zoom leaves 10 px/°.
    near = table((55, 150, 0, 0.2), (120, 225, 0.3, 0.2), ppd=(20, 10))
    assert radiology.on_area(near, BOX, field_deg=5).tolist() == [True, False]
    assert radiology.on_area(replace(near, ppd_x=near.ppd_x / 2), BOX, field_deg=5).tolist() == [False, False]


def test_a_look_that_began_before_the_image_counts_from_its_appearance() -> None:
    looks = radiology.looks_at(table((120, 120, 0.5, 0.4)), BOX, field_deg=0, start_s=0.6)
    assert looks.time_to_first_fixation_s == 0.0


@pytest.mark.parametrize(
    ("durations", "expected"), [((), "search"), ((0.4, 0.5), "recognition"), ((0.6, 0.4), "decision")]
)
def test_a_miss_is_of_search_recognition_or_decision(durations: tuple[float, ...], expected: str) -> None:
    path = table(*((120, 120, float(i), d) for i, d in enumerate(durations)), (10, 10, 9.0, 5.0))
    assert radiology.kundel_class(radiology.looks_at(path, BOX, field_deg=2), dwell_s=1.0) == expected


# ── the image as a whole ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("rows", "columns"), [(400, 300), (3000, 2500)])
def test_one_fixation_covers_the_area_of_its_ellipse(rows: int, columns: int) -> None:
    path = table((columns / 2, rows / 2, 0, 0.3), ppd=(columns / 20, rows / 25))
    found = radiology.coverage(path, rows=rows, columns=columns, field_deg=5)
    assert found == pytest.approx(math.pi * 2.5 / 20 * 2.5 / 25, rel=0.01)


def test_coverage_is_the_union_and_stays_on_the_image() -> None:
    middle, same, corner = (150, 200, 0, 0.3), (150, 200, 1, 0.3), (-0.5, -0.5, 2, 0.3)
    one = radiology.coverage(table(middle), rows=ROWS, columns=COLUMNS, field_deg=5)
    assert radiology.coverage(table(middle, same), rows=ROWS, columns=COLUMNS, field_deg=5) == one
    both = radiology.coverage(table(middle, corner), rows=ROWS, columns=COLUMNS, field_deg=5)
    assert both == pytest.approx(1.25 * one, rel=0.02)
    assert radiology.coverage(table((-200, 0, 0, 1)), rows=ROWS, columns=COLUMNS, field_deg=5) == 0
    assert radiology.coverage(table(middle), rows=ROWS, columns=COLUMNS, field_deg=300) == 1


def test_coverage_of_a_region_counts_only_there() -> None:
    lungs = Area.of_outline([(0, 0), (150, 0), (150, 400), (0, 400)])
    half = radiology.coverage(table((150, 200, 0, 0.3)), rows=ROWS, columns=COLUMNS, field_deg=5, region=lungs)
    whole = radiology.coverage(table((150, 200, 0, 0.3)), rows=ROWS, columns=COLUMNS, field_deg=5)
    assert half == pytest.approx(whole, rel=0.02)  # half of the circle, of half of the image
    beside = Area.of_box([-50, -50, -10, -10])
    assert radiology.coverage(table((1, 1, 0, 1)), rows=ROWS, columns=COLUMNS, field_deg=5, region=beside) is None


def test_coverage_grows_with_field_and_with_fixations() -> None:
    rng = np.random.default_rng(1)
    looks = [(float(x), float(y), i, 0.3) for i, (x, y) in enumerate(rng.uniform(0, 300, (20, 2)))]
    few, many = table(*looks[:10]), table(*looks)
    cover = lambda path, field: radiology.coverage(path, rows=ROWS, columns=COLUMNS, field_deg=field)  # noqa: E731
    assert 0 < cover(few, 2.5) < cover(few, 5) < cover(many, 5) < 1


def test_zones_are_counted_row_by_row_and_not_beside_the_image() -> None:
    path = table((0, 0, 0, 1), (299, 0, 1, 1), (149.4, 399, 2, 1), (149.6, 200, 3, 1), (-1, 5, 4, 1), (5, 400, 5, 1))
    assert radiology.zone_of(path, rows=ROWS, columns=COLUMNS, zones=(3, 2)).tolist() == [0, 1, 4, 3, -1, -1]


def test_entropies_follow_their_sums() -> None:
    found = radiology.transitions([0, 0, 1, 0, 2, 2, -1, 1, 0], 4)
    # Out of 0: to 0, 1 and 2; out of 1: to 0 twice; out of 2: to 2. The glance away breaks the chain.
    assert found.counts.tolist() == [[1, 1, 1, 0], [2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert found.entropy_bits == pytest.approx(3 / 6 * math.log2(3))
    assert found.stationary_entropy_bits == pytest.approx(
        -(3 / 6 * math.log2(3 / 6) + 2 / 6 * math.log2(2 / 6) + 1 / 6 * math.log2(1 / 6))
    )
    assert found.entropy == pytest.approx(found.entropy_bits / 2)


def test_a_fixed_round_is_foretold_and_a_random_walk_is_not() -> None:
    ring = radiology.transitions([0, 1, 2, 3] * 50, 4)
    assert ring.entropy == 0 and ring.stationary_entropy == pytest.approx(1, abs=1e-3)
    walk = radiology.transitions(np.random.default_rng(0).integers(0, 4, 20_000), 4)
    assert walk.entropy == pytest.approx(1, abs=1e-3)
    # Krejtz' eigenvector gives the same of a long walk.
    p = walk.counts / walk.counts.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(p.T)
    pi = np.real(vectors[:, np.argmax(np.real(values))])
    pi /= pi.sum()
    assert walk.entropy_bits == pytest.approx(-(pi[:, None] * p * np.log2(p)).sum(), abs=1e-6)


def test_without_two_fixations_in_a_row_there_is_no_transition() -> None:
    for areas in ([], [1], [0, -1, 1], [-1, -1]):
        assert radiology.transitions(areas, 3) is None
    alone = radiology.transitions([0, 0], 1)
    assert alone.entropy_bits == 0 and alone.entropy is None
    with pytest.raises(ValueError, match="there are 2"):
        radiology.transitions([0, 2], 2)


# ── assistance ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fixation_across_the_reveal_counts_on_both_sides() -> None:
    path = table((120, 120, 1.0, 1.0), (120, 120, 2.5, 0.5), (10, 10, 3.0, 9.0))
    on = np.array([True, True, False])
    assert radiology.dwell_between(path, on, -np.inf, 1.25) == pytest.approx(0.25)
    assert radiology.dwell_between(path, on, 1.25, np.inf) == pytest.approx(1.25)


def test_time_in_a_panel_follows_it_as_it_moves() -> None:
    t = np.arange(0, 4, 0.01)
    x, y = np.full(len(t), 950.0), np.full(len(t), 300.0)
    x[(t >= 0.5) & (t < 1)] = np.nan
    moved = [0.0, 2.0, 3.0]
    rects = [(900, 200, 1200, 400), (900, 500, 1200, 700), (np.nan,) * 4]
    assert radiology.time_inside(t, x, y, moved, rects) == pytest.approx(1.5)
    assert radiology.time_inside(t, x, y, [10.0], rects[:1]) == 0


def test_a_hole_in_the_recording_is_nobodys_time() -> None:
    t = np.r_[np.arange(0, 1, 0.01), np.arange(60, 61, 0.01)]
    everywhere = [(0, 0, 1000, 1000)]
    seconds = radiology.time_inside(t, np.full(200, 5.0), np.full(200, 5.0), [0.0], everywhere)
    assert seconds == pytest.approx(2.04)


# ── one read ──────────────────────────────────────────────────────────────────────────────────────────────────────────

LOOKS = [(120.0, 120.0, 1.0, 0.4), (20.0, 380.0, 1.6, 0.3), (130.0, 130.0, 2.0, 0.3), (280.0, 20.0, 2.5, 2.0)]


def read(*findings: Finding, **given: Any) -> dict[str, Any]:
    made = track(table(*LOOKS), shown_from=0.5, loss=given.pop("loss", 0.0))
    found = radiology.of_read(made, rows=ROWS, columns=COLUMNS, findings=findings, **given)
    assert json.dumps(found, allow_nan=False)
    return found


def test_a_read_is_measured_from_the_moment_its_image_appeared() -> None:
    found = read(Finding("Pneumothorax", "left", BOX, confidence=1))
    assert found["viewing_s"] == pytest.approx(9.49) and found["fixations"] == 4
    assert found["findings"][0]["looks"]["time_to_first_fixation_s"] == pytest.approx(0.5)
    assert set(found["coverage"]) == {"2.5", "5"} and found["coverage"]["2.5"] < found["coverage"]["5"]
    assert found["assistance"] is None


@pytest.mark.parametrize(
    ("finding", "reported", "kundel"),
    [
        (Finding("Lung Lesion", "", BOX, confidence=4), True, None),
        (Finding("Lung Lesion", "", BOX, confidence=3), False, "recognition"),
        (Finding("Lung Lesion", "", BOX, confidence=5, elsewhere=True), False, "recognition"),
        (Finding("Lung Lesion", "", Area.of_box([270, 10, 290, 30]), confidence=1), False, "decision"),
        (Finding("Lung Lesion", "", Area.of_box([200, 250, 210, 260]), confidence=1), False, "search"),
        (Finding("Lung Lesion", "", BOX), None, None),
    ],
    ids=["reported", "doubted", "marked-elsewhere", "dwelt-on", "never-seen", "never-asked"],
)
def test_every_miss_has_a_class_and_nothing_else_has(finding: Finding, reported: Any, kundel: Any) -> None:
    found = read(finding)["findings"][0]
    assert (found["reported"], found["kundel"], found["not_estimable"]) == (reported, kundel, "")


def test_a_miss_is_not_classified_without_a_place_or_with_too_much_gaze_lost() -> None:
    assert "does not say where" in read(Finding("Edema", confidence=1))["findings"][0]["not_estimable"]
    lossy = read(Finding("Edema", area=BOX, confidence=1), loss=0.4)["findings"][0]
    assert lossy["kundel"] is None and "40 % of the gaze is lost" in lossy["not_estimable"]
    blind = radiology.of_read(
        track(table()), rows=ROWS, columns=COLUMNS, findings=[Finding("Edema", area=BOX, confidence=1)]
    )
    assert blind["findings"][0]["looks"] is None and "no fixation" in blind["findings"][0]["not_estimable"]
    assert blind["coverage"] == {"2.5": None, "5": None} and blind["transition_entropy"] is None


def test_the_studys_parameters_decide() -> None:
    strict = Parameters.from_dict({"dwell_s": 0.5, "called_from": 2, "coverage_fields_deg": [3.5], "zones": [1, 1]})
    found = read(Finding("Edema", area=BOX, confidence=1), Finding("Edema", area=BOX, confidence=2), parameters=strict)
    assert [f["kundel"] for f in found["findings"]] == ["decision", None]
    assert set(found["coverage"]) == {"3.5"} and found["transition_entropy"] is None


def test_assistance_is_timed_before_and_after_its_reveal() -> None:
    shown = Assistance(2.1, [BOX])
    found = read(assistance=shown)["assistance"]
    assert found["revealed_s"] == pytest.approx(1.6)
    assert found["viewing_before_s"] + found["viewing_after_s"] == pytest.approx(9.49)
    assert found["boxes_before_s"] == pytest.approx(0.5) and found["boxes_after_s"] == pytest.approx(0.2)
    assert found["panel_s"] is None
    assert read(assistance=Assistance(2.1, []))["assistance"]["boxes_after_s"] is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"field": 5}, "'field' is no parameter"),
        ({"field_deg": 0}, "field_deg is 0"),
        ({"field_deg": "5"}, "field_deg is '5'"),
        ({"dwell_s": True}, "dwell_s is True"),
        ({"called_from": 6}, "called_from is 6"),
        ({"called_from": 3.0}, "called_from"),
        ({"coverage_fields_deg": []}, "names no field"),
        ({"coverage_fields_deg": [5, 5]}, "one twice"),
        ({"coverage_fields_deg": 5}, "wrong kind"),
        ({"zones": [3]}, "rows and columns"),
        ({"max_data_loss": math.nan}, "max_data_loss"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Parameters.from_dict(values)


def test_parameters_survive_json() -> None:
    chosen = Parameters(field_deg=4, coverage_fields_deg=(2.0,), zones=(2, 2))
    assert Parameters.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
