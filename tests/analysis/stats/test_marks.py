"""The tables of a free-response study: what is refused with its row, and what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import RatingsError
from analysis.stats.froc import figures_of_merit
from analysis.stats.marks import mark_curve, marks_per_image, read_marks
from tests.analysis.golden import golden, ratings
from tests.analysis.stats.free_response import free_response
from tests.reference import needs_reference

TRUTH = pd.DataFrame(
    [("n1", 0, 0, 0.0), ("n2", 0, 0, 0.0), ("d1", 1, 1, 0.25), ("d1", 1, 2, 0.75), ("d2", 1, 1, 1.0)],
    columns=["case", "truth", "lesion", "weight"],
)
MARKS = pd.DataFrame(
    [
        ("R1", "A", "n1", 0, "NL", 0, 2.0),
        ("R1", "A", "n1", 0, "NL", 0, 2.0),
        ("R1", "A", "d1", 1, "LL", 2, 3.0),
        ("R1", "A", "d2", 1, "NL", 0, 4.0),
        ("R1", "B", "d2", 1, "LL", 1, 1.0),
    ],
    columns=["reader", "treatment", "case", "truth", "mark", "lesion", "rating"],
)


def changed(frame: pd.DataFrame, row: int, **values: Any) -> pd.DataFrame:
    frame = frame.astype(object)
    for column, value in values.items():
        frame.loc[row, column] = value
    return frame


def test_the_arrays_say_what_the_tables_say() -> None:
    table = read_marks(MARKS, TRUTH)
    assert (table.readers, table.treatments, table.cases) == (("R1",), ("A", "B"), ("d1", "d2", "n1", "n2"))
    assert table.truth.tolist() == [True, True, False, False]
    assert table.lesions == ("1", "2", "1") and table.lesion_case.tolist() == [0, 0, 1]
    assert table.weights is not None and table.weights.tolist() == [0.25, 0.75, 1.0]
    assert table.lesion_ratings[0, 0].tolist() == [-np.inf, 3.0, -np.inf]
    assert table.highest[0, 0].tolist() == [-np.inf, 4.0, 2.0, -np.inf]


def test_text_as_a_file_gives_it_and_gaps_for_no_lesion_are_read_alike() -> None:
    text = MARKS.astype(str).assign(lesion=["", "NA", "2.0", "0.0", "1.0"])
    first, second = read_marks(MARKS, TRUTH), read_marks(text, TRUTH.astype(str))
    np.testing.assert_array_equal(first.lesion_ratings, second.lesion_ratings)
    np.testing.assert_array_equal(first.highest, second.highest)


@pytest.mark.parametrize(
    ("row", "values", "sentence"),
    [
        (
            0,
            {"case": "x9"},
            "The case of row 1 (reader R1, treatment A, case x9) is not in the truth table; add it there",
        ),
        (
            2,
            {"lesion": 3},
            "The mark of row 3 (reader R1, treatment A, case d1) is LL on the lesion 3, which the truth",
        ),
        (2, {"lesion": 0}, "The mark of row 3 (reader R1, treatment A, case d1) is LL on the lesion (none), which the"),
        (
            0,
            {"mark": "LL", "lesion": 1},
            "The mark of row 1 (reader R1, treatment A, case n1) is LL on the lesion 1, wh",
        ),
        (3, {"lesion": 1}, "The mark of row 4 (reader R1, treatment A, case d2) is NL and names the lesion 1; write"),
        (3, {"mark": "FP"}, "The mark of row 4 (reader R1, treatment A, case d2) is 'FP'; it must be LL (on a lesion)"),
        (1, {"rating": "high"}, "The rating of row 2 (reader R1, treatment A, case n1) is the text 'high'; it must be"),
        (1, {"rating": ""}, "The rating of row 2 (reader R1, treatment A, case n1) is missing; every row needs one."),
        (
            1,
            {"rating": np.nan},
            "The rating of row 2 (reader R1, treatment A, case n1) is missing; every row needs one.",
        ),
        (
            2,
            {"truth": 0},
            "The truth of row 3 (reader R1, treatment A, case d1) is 0 and the truth table says 1; a case",
        ),
        (2, {"truth": None}, "The truth of row 3 (reader R1, treatment A, case d1) is missing; every row needs one."),
        (4, {"reader": None}, "Row 5 of the marks table has no reader; give every row one."),
    ],
)
def test_a_faulty_mark_is_refused_with_its_row(row: int, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        read_marks(changed(MARKS, row, **values), TRUTH)
    assert str(refused.value).startswith(sentence)


def test_a_lesion_marked_twice_is_refused_with_both_rows() -> None:
    twice = pd.concat([MARKS, MARKS.iloc[[2]]], ignore_index=True)
    with pytest.raises(RatingsError) as refused:
        read_marks(twice, TRUTH)
    assert str(refused.value) == (
        "The lesion 2 of row 6 (reader R1, treatment A, case d1) was already marked in row 3; keep one mark per "
        "lesion, the highest rated."
    )


@pytest.mark.parametrize(
    ("row", "values", "sentence"),
    [
        (
            3,
            {"weight": 0.5},
            "The weights of case d1 (from row 3 of the truth table (case d1, lesion 1)) sum to 0.75; th",
        ),
        (
            3,
            {"weight": 0},
            "The weight of row 4 of the truth table (case d1, lesion 2) is 0; a lesion's weight is above",
        ),
        (4, {"weight": 1.5}, "The weight of row 5 of the truth table (case d2, lesion 1) is 1.5; a lesion's weight is"),
        (4, {"weight": "heavy"}, "The weight of row 5 of the truth table (case d2, lesion 1) is the text 'heavy'; it"),
        (3, {"truth": 0}, "Case d1 has truth 0 in row 4 of the truth table (case d1, lesion 2) and 1 in row 3; a case"),
        (
            4,
            {"truth": 2},
            "The truth of row 5 of the truth table (case d2, lesion 1) is 2; it must be 1 (diseased) or 0",
        ),
        (
            4,
            {"lesion": 0},
            "The case of row 5 of the truth table (case d2, lesion 0) is diseased and the row names no l",
        ),
        (0, {"lesion": 1}, "The case of row 1 of the truth table (case n1, lesion 1) is normal; it needs lesion 0 and"),
        (
            1,
            {"case": "n1"},
            "Row 2 of the truth table (case n1, lesion 0) repeats row 1; keep one row per lesion or",
        ),
        (
            3,
            {"lesion": 1},
            "Row 4 of the truth table (case d1, lesion 1) repeats row 3; keep one row per lesion or",
        ),
    ],
)
def test_a_faulty_truth_is_refused_with_its_row(row: int, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        read_marks(MARKS.iloc[:0], changed(TRUTH, row, **values), readers=["R1"], treatments=["A"])
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("marks", "truth", "sentence"),
    [
        (MARKS.drop(columns="lesion"), TRUTH, "The marks table lacks the column lesion; it needs reader, treatment,"),
        (MARKS, TRUTH.drop(columns="weight"), "The truth table lacks the column weight; it needs case, truth, lesion"),
        (MARKS.iloc[:0], TRUTH, "The marks table has no rows; nothing can be analysed."),
        (MARKS, TRUTH.iloc[:0], "The truth table has no rows; nothing can be analysed."),
    ],
)
def test_a_table_without_its_columns_or_rows_is_refused(
    marks: pd.DataFrame, truth: pd.DataFrame, sentence: str
) -> None:
    with pytest.raises(RatingsError) as refused:
        read_marks(marks, truth)
    assert str(refused.value).startswith(sentence)


def test_without_weights_lesions_may_weigh_anything() -> None:
    assert read_marks(MARKS, TRUTH.assign(weight=7), weighted=False).weights is None
    assert read_marks(MARKS, TRUTH.drop(columns="weight"), weighted=False).weights is None


def test_readers_who_may_have_made_no_mark_can_be_named() -> None:
    table = read_marks(MARKS, TRUTH, readers=["R1", "R2"], treatments=["B", "A"])
    assert (table.readers, table.treatments) == (("R1", "R2"), ("B", "A"))
    assert table.warnings[0].startswith("No mark at all: reader R2 under B; reader R2 under A; taken to have read")
    with pytest.raises(RatingsError, match=r"The treatment of row 5 .* is not among A"):
        read_marks(MARKS, TRUTH, treatments=["A"])


def test_a_mark_rated_minus_infinity_is_no_mark_and_said_to_be_none() -> None:
    table = read_marks(changed(MARKS, 3, rating="-inf"), TRUTH)
    assert "A mark rated −∞ counts as no mark: 1 of 5 marks." in table.warnings
    assert marks_per_image(table)[0].nl_diseased == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_area_under_a_curve_is_the_figure_of_merit(seed: int) -> None:
    table = read_marks(*free_response(seed), readers=["R1", "R2", "R3"], treatments=["A", "B"])
    for kind in ("wafroc", "afroc"):
        foms = figures_of_merit(table, kind).foms.reshape(2, 3)
        for i, treatment in enumerate(table.treatments):
            for j, reader in enumerate(table.readers):
                curve = mark_curve(table, treatment, reader, kind)
                assert curve.area == pytest.approx(foms[i, j])
                assert (np.diff(curve.x) >= 0).all() and (np.diff(curve.y) >= -1e-12).all()


def test_a_froc_curve_ends_at_the_marks_per_image_and_the_lesions_found() -> None:
    table = read_marks(*free_response(2))
    for one in marks_per_image(table):
        on_all = mark_curve(table, one.treatment, one.reader, "froc")
        on_normal = mark_curve(table, one.treatment, one.reader, "froc", images="normal")
        assert (on_all.x[-1], on_normal.x[-1]) == pytest.approx((one.nl_all, one.nl_normal))
        assert on_all.y[-1] == on_normal.y[-1] == pytest.approx(one.lesions_marked)
        assert on_all.thresholds[0] == np.inf and (np.diff(on_all.thresholds) < 0).all()


def test_a_curve_that_cannot_be_drawn_says_why() -> None:
    table = read_marks(MARKS, TRUTH, weighted=False)
    with pytest.raises(ValueError, match="no reader 'R9' under treatment 'A'"):
        mark_curve(table, "A", "R9")
    with pytest.raises(ValueError, match="needs lesion weights"):
        mark_curve(table, "A", "R1")
    with pytest.raises(ValueError, match="needs normal cases"):
        mark_curve(read_marks(*free_response(1, n0=0)), "A", "R1")


@needs_reference
@pytest.mark.reference
def test_marks_per_image_agree_with_rjafroc() -> None:
    found = marks_per_image(read_marks(ratings("TONY_marks"), ratings("TONY_truth")))
    expected = golden("froc_power")["TONY"]
    for name, value in (("FOM_MaxNLF", "nl_normal"), ("FOM_MaxLLF", "lesions_marked")):
        rows = {row["_row"]: row for row in expected[name]}
        for one in found:
            assert getattr(one, value) == pytest.approx(rows[f"trt{one.treatment}"][f"rdr{one.reader}"])
