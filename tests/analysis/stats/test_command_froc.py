"""``python -m analysis.stats froc``: the same JSON as every comparison, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.stats.__main__ import main
from tests.analysis.golden import golden
from tests.analysis.stats.free_response import free_response
from tests.reference import REFERENCE, needs_reference


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    marks, truth = free_response(3, n0=15, n1=15)
    marks.to_csv(tmp_path / "marks.csv", index=False)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    return str(tmp_path / "marks.csv"), str(tmp_path / "truth.csv")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["froc", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["froc", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize(("data", "fom", "name"), [("TONY", "wafroc", "wAFROC"), ("FEDERICA", "afroc", "AFROC")])
def test_the_command_prints_rjafrocs_numbers(
    capsys: pytest.CaptureFixture[str], data: str, fom: str, name: str
) -> None:
    folder = REFERENCE / "mrmc"
    found = printed(capsys, str(folder / f"{data}_marks.csv"), str(folder / f"{data}_truth.csv"), "--fom", fom)
    expected = golden("froc_power")[data][f"{name}_OR_RRRC_jackknife"]["RRRC"]
    assert found["omnibus"]["p"] == pytest.approx(expected["FTests"][0]["p"], rel=1e-6)
    assert found["comparisons"][0]["se"] == pytest.approx(expected["ciDiffTrt"][0]["StdErr"], rel=1e-6)
    assert found["means"][0]["df"] == pytest.approx(expected["ciAvgRdrEachTrt"][0]["DF"], rel=1e-6)


def test_the_command_prints_what_every_comparison_prints(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    found = printed(capsys, *files, "--margin", "0.1", "--reference", "A")
    assert {"auc", "means", "comparisons", "components", "method", "conventions", "warnings"} <= set(found)
    assert set(found["auc"]) == {"A", "B"} and set(found["auc"]["A"]) == {"R1", "R2", "R3"}
    (comparison,) = found["comparisons"]
    assert comparison["treatments"] == ["B", "A"] and comparison["noninferiority"]["margin"] == 0.1
    assert [one["reader"] for one in found["marks_per_image"]] == ["R1", "R2", "R3"] * 2


@pytest.mark.parametrize("random", ["readers+cases", "cases", "readers"])
@pytest.mark.parametrize("covariance", ["jackknife", "delong", "bootstrap"])
@pytest.mark.parametrize("fom", ["wafroc", "afroc"])
def test_every_choice_is_named_in_the_method(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str], fom: str, covariance: str, random: str
) -> None:
    found = printed(capsys, *files, "--fom", fom, "--covariance", covariance, "--random", random)
    assert fom in found["method"].lower() and covariance in found["method"].lower()
    assert (found["fom"], found["covariance"], found["random"]) == (fom, covariance, random.replace("+", "_"))


@pytest.mark.parametrize(
    ("row", "column", "value", "sentence"),
    [
        (2, "rating", "high", "The rating of line 4 (reader "),
        (2, "rating", "", "The rating of line 4 (reader "),
        (2, "case", "c99", "The case of line 4 (reader "),
        (2, "truth", "1", "The truth of line 4 (reader "),
        (2, "mark", "TP", "The mark of line 4 (reader "),
    ],
)
def test_a_faulty_mark_is_one_sentence_with_its_row(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str], row: int, column: str, value: str, sentence: str
) -> None:
    table = pd.read_csv(files[0], dtype=str)
    table.loc[row, column] = value
    table.to_csv(files[0], index=False)
    assert refused(capsys, *files).startswith(sentence)


def test_weights_that_do_not_sum_to_one_are_refused_for_the_weighted_figure_only(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    truth = pd.read_csv(files[1])
    truth.loc[truth.truth == 1, "weight"] *= 0.9
    truth.to_csv(files[1], index=False)
    assert "sum to 0.9; those of a case's lesions must sum to 1." in refused(capsys, *files)
    assert printed(capsys, *files, "--fom", "afroc")["not_estimable"] == ""


def test_unknown_options_and_absent_files_are_one_sentence(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    assert refused(capsys, *files, "--fom", "roc").startswith("fom is 'roc'; it must be one of 'wafroc', 'afroc'")
    assert refused(capsys, *files, "--covariance", "magic").startswith("covariance is 'magic'; it must be one of")
    assert refused(capsys, *files, "--random", "nobody").startswith("random is 'nobody'; it must be one of")
    assert refused(capsys, *files, "--reference", "Z").startswith("The reference treatment 'Z' is not among A, B.")
    assert "cannot be read" in refused(capsys, files[0], "nowhere.csv")


def test_a_study_without_a_class_that_the_figure_needs_is_one_sentence(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    for name in files:
        table = pd.read_csv(name)
        table[table.truth == 1].to_csv(name, index=False)
    assert "not estimable, because no case is normal: wAFROC takes its false positives" in refused(capsys, *files)
    assert printed(capsys, *files, "--fom", "wafroc1")["comparisons"][0]["se"] is not None


def test_one_treatment_is_no_error(capsys: pytest.CaptureFixture[str], files: tuple[str, str]) -> None:
    marks = pd.read_csv(files[0])
    marks[marks.treatment == "A"].to_csv(files[0], index=False)
    found = printed(capsys, *files)
    assert found["comparisons"] == [] and found["means"][0]["se"] is not None
    assert any("There is one treatment" in warning for warning in found["warnings"])
