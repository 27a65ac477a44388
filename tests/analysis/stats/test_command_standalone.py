"""``python -m analysis.stats standalone``: the AI against the readers as JSON, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.stats.__main__ import main
from tests.analysis.golden import golden
from tests.analysis.simulated import roe_metz
from tests.reference import REFERENCE, needs_reference


@pytest.fixture
def file(tmp_path: Path) -> str:
    roe_metz(1, readers=4).to_csv(tmp_path / "ratings.csv", index=False)
    return str(tmp_path / "ratings.csv")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["standalone", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["standalone", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@needs_reference
@pytest.mark.reference
def test_the_command_prints_rjafrocs_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, str(REFERENCE / "mrmc" / "NICOCADROC.csv"), "--ai", "1")
    expected = golden("froc_power")["StandaloneVsReaders_NICOCADROC"]["dataset09_Wilcoxon_1T_RRRC"]
    assert found["difference"] == pytest.approx(expected["avgDiffFom"], rel=1e-6)
    assert found["df"] == pytest.approx(expected["df"], rel=1e-6)
    assert found["ci"] == pytest.approx(expected["CIAvgDiffFom"], rel=1e-6)
    assert found["p"] == pytest.approx(expected["pval"], rel=1e-6)


@pytest.mark.parametrize("random", ["readers+cases", "cases", "readers"])
@pytest.mark.parametrize("covariance", ["jackknife", "delong", "unbiased"])
def test_every_choice_is_named(capsys: pytest.CaptureFixture[str], file: str, covariance: str, random: str) -> None:
    options = ("--treatment", "A", "--covariance", covariance, "--random", random, "--margin", "0.1")
    found = printed(capsys, file, "--ai", "R1", *options)
    assert {"difference", "se", "df", "ci", "p", "ai", "method", "conventions", "warnings"} <= set(found)
    assert (found["ai"], found["treatment"], found["covariance"]) == ("R1", "A", covariance)
    assert [one["reader"] for one in found["per_reader"]] == ["R2", "R3", "R4"]
    assert covariance in found["method"].lower() and found["noninferiority"]["of"] == "R1"
    assert found["conventions"][0].startswith("Differences are readers − AI")


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert refused(capsys, file, "--ai", "R1").startswith("The table has the treatments A, B; say which one")
    assert refused(capsys, file, "--ai", "net", "--treatment", "A").startswith("The AI 'net' is not among the readers")
    assert refused(capsys, file, "--ai", "R1", "--treatment", "C").startswith("The treatment 'C' is not among A, B.")
    table = pd.read_csv(file, dtype=str)
    table.loc[4, "rating"] = "high"
    table.to_csv(file, index=False)
    assert refused(capsys, file, "--ai", "R1", "--treatment", "A").startswith(
        "The rating of line 6 (reader R1, treatment A, case 0-4) is the text 'high'; it must be a number."
    )
    table.loc[4, "rating"] = ""
    table.to_csv(file, index=False)
    assert refused(capsys, file, "--ai", "R1", "--treatment", "A").startswith(
        "The rating of line 6 (reader R1, treatment A, case 0-4) is missing"
    )
