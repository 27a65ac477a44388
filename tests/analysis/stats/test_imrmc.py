"""iMRMC's own format, in and out."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import RatingsError, analyze
from analysis.stats.imrmc import is_imrmc, read_imrmc, write_imrmc
from analysis.stats.ratings import read_ratings
from tests.analysis.golden import ratings
from tests.analysis.simulated import roe_metz
from tests.reference import needs_reference

TEXT = """A study of two readers
N0: 2
n1:  2
NR: 2
NM: 1
BEGIN DATA:
-1,n1,0,0
-1,n2,0,0,
truth, d1 ,truth,1
-1,d2,0,1
r1,n1,film,1.5
r1,n2,film,-Inf,,
r1,d1,film,3

r1,d2,film,4
r2,n1,film,0
r2,n2,film,2
r2,d1,film,1e1
r2,d2,film,2
"""


def test_a_file_becomes_a_ratings_table_with_its_lines() -> None:
    frame = read_imrmc(TEXT)
    assert list(frame.columns) == ["reader", "treatment", "case", "truth", "rating"]
    assert frame.index.tolist() == [11, 12, 13, 15, 16, 17, 18, 19] and frame.index.name == "line"
    table = read_ratings(frame)
    assert (table.readers, table.treatments, table.cases) == (("r1", "r2"), ("film",), ("d1", "d2", "n1", "n2"))
    assert table.truth.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(table.scores[0], [[3, 4, 1.5, -np.inf], [10, 2, 0, 2]])
    assert frame.attrs["warnings"] == []
    assert is_imrmc(TEXT) and not is_imrmc("reader,treatment\n1,2\n")


def test_what_the_header_promises_and_the_data_do_not_hold_is_said() -> None:
    text = TEXT.replace("NR: 2", "NR: 3").replace("-1,d2,0,1\n", "-1,d2,0,1\n-1,d9,0,1\n")
    assert read_imrmc(text).attrs["warnings"] == [
        "The header promises 2 diseased cases and the data hold 3; the data count.",
        "The header promises 3 readers and the data hold 2; the data count.",
        "Cases with a truth that nobody rated are left out: d9.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("BEGIN DATA:", "DATA:", 'The file has no line "BEGIN DATA:"; an iMRMC file needs one before its readings.'),
        ("r1,d1,film,3", "r1,d1,film", "Line 13 of The file is 'r1,d1,film'; it must be reader,case,modality,score"),
        ("r1,d1,film,3", "r1,,film,3", "Line 13 of The file is 'r1,,film,3'; it must be reader,case,modality,score"),
        ("-1,n2,0,0,", "-1,n2,0,2", "Line 8 of The file gives case n2 the truth 2; it must be 0 or 1."),
        ("-1,n2,0,0,", "-1,n1,0,0", "Line 8 of The file gives case n1 a truth a second time; keep one."),
        ("-1,n2,0,0,\n", "", "Line 11 of The file (reader r1, modality film) rates case n2, which has no truth; add"),
        ("NR: 2", "NR: two", "Line 4 of The file says NR: two; it must be a whole number."),
    ],
)
def test_a_faulty_file_is_refused_with_the_line(old: str, new: str, sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        read_imrmc(TEXT.replace(old, new, 1))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("r2,n1,film,0", "r2,n1,film,high", "The rating of line 16 (reader r2, treatment film, case n1) is the text"),
        ("r2,n1,film,0", "r1,n1,film,0", "Line 16 (reader r1, treatment film, case n1) was already rated in line"),
    ],
)
def test_a_faulty_reading_is_refused_with_the_line_of_the_file(old: str, new: str, sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        analyze(read_imrmc(TEXT.replace(old, new)))
    assert str(refused.value).startswith(sentence)


def test_what_is_written_is_read_again() -> None:
    frame = roe_metz(1)
    frame = frame.assign(rating=frame.rating.where(frame.rating > -1, -np.inf)).drop(index=[3, 70])
    table = read_ratings(frame)
    again = read_ratings(read_imrmc(write_imrmc(table, "Title\nmore")))
    assert (again.readers, again.treatments, again.cases) == (table.readers, table.treatments, table.cases)
    np.testing.assert_array_equal(again.truth, table.truth)
    np.testing.assert_array_equal(again.scores, table.scores)
    assert analyze(read_imrmc(write_imrmc(table))).to_dict() == analyze(frame).to_dict()


def test_names_the_format_cannot_hold_are_refused() -> None:
    frame = roe_metz(1)
    with pytest.raises(RatingsError, match="The name 'R 1' has a comma or a space"):
        write_imrmc(read_ratings(frame.assign(reader=frame.reader.str.replace("R", "R "))))
    with pytest.raises(RatingsError, match="A reader is called -1"):
        write_imrmc(read_ratings(frame.assign(reader=frame.reader.replace({"R1": "-1"}))))


@needs_reference
@pytest.mark.reference
def test_vandyke_in_imrmcs_format_gives_the_numbers_of_the_csv() -> None:
    table = read_ratings(ratings("VanDyke"))
    found = analyze(read_imrmc(write_imrmc(table)), covariance="jackknife")
    assert found.to_dict() == analyze(ratings("VanDyke"), covariance="jackknife").to_dict()
