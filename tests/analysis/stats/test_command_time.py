"""``python -m analysis.stats time``: a file in, JSON out, one sentence for what is wrong with the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.stats.__main__ import main
from tests.analysis.golden import golden
from tests.analysis.stats.test_reading_time import times
from tests.reference import REFERENCE, needs_reference


@needs_reference
@pytest.mark.reference
def test_the_command_prints_lme4s_numbers(capsys: pytest.CaptureFixture) -> None:
    assert main(["time", str(REFERENCE / "mrmc" / "sim_readtime_8x60.csv")]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = golden("readtime")["8x60"]
    assert [one["term"] for one in printed["fixed"]] == ["intercept", "assisted", "period"]
    names = {"estimate": "Estimate", "se": "Std. Error", "df": "df", "t": "t value", "p": "Pr(>|t|)"}
    for one, wanted in zip(printed["fixed"], expected["fixef"], strict=True):
        for ours, theirs in names.items():
            assert one[ours] == pytest.approx(wanted[theirs], rel=1e-4)
    assert printed["fixed_effects"] == {one["term"]: one for one in printed["fixed"]}
    variances = {one["group"]: one["variance"] for one in printed["variance_components"]}
    for row, group in zip(expected["varcomp"], ("case", "reader slope", "reader", "residual"), strict=True):
        assert variances[group] == pytest.approx(row["vcov"], rel=1e-4)
    assert printed["ratio_lower"] < printed["ratio"] < printed["ratio_upper"] < 1


def test_the_options_take_the_slope_out_and_widen_the_interval(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "times.csv"
    times(1, slope_sd=0.4).to_csv(path, index=False)

    def run(*options: str) -> Any:
        assert main(["time", str(path), *options]) == 0
        return json.loads(capsys.readouterr().out)

    plain, without, wide = run(), run("--no-reader-slope"), run("--alpha", "0.01")
    assert "reader slope" in plain["variances"] and "reader slope" not in without["variances"]
    assert wide["ratio_upper"] > plain["ratio_upper"] and wide["ratio"] == plain["ratio"]
    assert wide["alpha"] == 0.01


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("reader,case,assisted,period,seconds\n1,1,0,1,30\n1,2,1,2,soon\n", "has seconds soon; it must be more than 0"),
        ("reader,case,assisted,seconds\n1,1,0,30\n", "lacks the column period"),
        ("reader,case,assisted,period,seconds\n", "has no rows"),
        (
            "reader,case,assisted,period,seconds\n1,1,0,1,30\n1,1,1,2,25\n1,1,0,1,31\n",
            "Line 4 (reader 1, case 1, period 1) was already timed in line 2",
        ),
    ],
    ids=["text", "column", "empty", "twice"],
)
def test_a_faulty_file_is_one_sentence_and_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture, text: str, sentence: str
) -> None:
    path = tmp_path / "times.csv"
    path.write_text(text)
    assert main(["time", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and err.count("\n") == 1
    assert main(["time", str(path), "--alpha", "2"]) == 2


def test_times_that_cannot_be_modelled_are_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "times.csv"
    times(1)[lambda f: f.assisted == 1].to_csv(path, index=False)
    assert main(["time", str(path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["not_estimable"].startswith("not estimable, because") and printed["fixed"] == []
