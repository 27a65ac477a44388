"""``python -m analysis.stats mrmc``: JSON for a table, one sentence for a faulty one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.stats.__main__ import main
from analysis.stats.imrmc import write_imrmc
from analysis.stats.ratings import read_ratings
from tests.analysis.simulated import roe_metz
from tests.reference import REFERENCE, needs_reference

MRMC = REFERENCE / "mrmc"


def saved(frame: pd.DataFrame, folder: Path, name: str = "ratings.csv") -> str:
    path = folder / name
    frame.to_csv(path, index=False)
    return str(path)


def said(capsys: Any, *arguments: str) -> dict[str, Any]:
    assert main(["mrmc", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: Any, *arguments: str) -> str:
    assert main(["mrmc", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(".\n") and err.count("\n") == 1
    return str(err.strip())


@needs_reference
@pytest.mark.reference
def test_vandyke_as_the_notes_have_it(capsys: Any) -> None:
    found = said(capsys, str(MRMC / "VanDyke.csv"))
    (one,) = found["comparisons"]
    assert one["treatments"] == ["1", "2"]
    assert one["statistic"] ** 2 == pytest.approx(4.484854, rel=1e-6)
    assert one["df"] == pytest.approx(15.06611, rel=1e-6)
    assert one["p"] == pytest.approx(0.05123303, rel=1e-6)
    assert one["se"] == pytest.approx(0.02068250, rel=1e-6)
    assert found["auc"]["2"]["4"] == pytest.approx(0.9993558776167)
    assert [mean["estimate"] for mean in found["means"]] == pytest.approx([0.8970370, 0.9408374], rel=1e-6)
    for key in ("components", "method", "conventions", "warnings"):
        assert key in found


@needs_reference
@pytest.mark.reference
def test_with_cases_random_df_is_infinite_and_x2_that_of_the_notes(capsys: Any) -> None:
    found = said(capsys, str(MRMC / "VanDyke.csv"), "--covariance", "jackknife", "--random", "cases")
    (one,) = found["comparisons"]
    assert one["df"] == "infinite" and one["statistic"] ** 2 == pytest.approx(5.475953, rel=1e-6)
    assert found["omnibus"]["p"] == pytest.approx(0.01927984, rel=1e-6)


@needs_reference
@pytest.mark.reference
def test_noninferiority_with_a_margin(capsys: Any) -> None:
    found = said(capsys, str(MRMC / "VanDyke.csv"), "--covariance", "jackknife", "--margin", "0.05", "--equivalence")
    (one,) = found["comparisons"]
    assert one["noninferiority"]["statistic"] == pytest.approx(4.520798, rel=1e-6)
    assert one["noninferiority"]["p"] == pytest.approx(1.94884e-4, rel=3e-6)
    assert one["equivalence"]["shown"] is False


@needs_reference
@pytest.mark.reference
def test_a_split_plot_study_at_the_command_line(capsys: Any) -> None:
    found = said(capsys, str(MRMC / "split_plot2blocks.csv"))
    assert found["comparisons"][0]["se"] ** 2 == pytest.approx(2.643224e-4, rel=1e-6)
    assert "because ratings are missing" in found["method"]


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    path = saved(roe_metz(1), tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "analysis.stats", "mrmc", path], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["fom"] == "auc" and done.stderr == ""


def test_every_option_arrives(capsys: Any, tmp_path: Path) -> None:
    path = saved(roe_metz(1, treatments=("A", "B", "C")), tmp_path)
    found = said(capsys, path, "--fom", "sensitivity", "--threshold", "-0.5", "--covariance", "bootstrap",
                 "--random", "readers+cases", "--margin", "0.2", "--equivalence", "--reference", "A", "--alpha", "0.1",
                 "--multiplicity", "bonferroni", "--df", "original", "--replicates", "50", "--seed", "4")  # fmt: skip
    assert (found["fom"], found["covariance"], found["random"]) == ("sensitivity", "bootstrap", "readers_cases")
    assert (found["margin"], found["alpha"], found["multiplicity"]) == (0.2, 0.1, "bonferroni")
    assert (
        "sensitivity at ratings of -0.5 or more, bootstrap covariances (50 draws of cases, seed 4)" in found["method"]
    )
    assert [one["treatments"] for one in found["comparisons"]] == [["B", "C"], ["B", "A"], ["C", "A"]]
    assert {one["df"] for one in found["comparisons"]} == {6.0}
    partial = said(capsys, path, "--fom", "partial_auc", "--fpr", "0", "0.3", "--standardise", "range")
    assert "partial AUC over false-positive fractions 0 to 0.3" in partial["method"]


def test_labels_stay_text_and_other_columns_are_ignored(capsys: Any, tmp_path: Path) -> None:
    frame = roe_metz(1, readers=3)
    frame = frame.assign(reader=frame.reader.map({"R1": "01", "R2": "1", "R3": "nan"}), note="x")
    found = said(capsys, saved(frame, tmp_path))
    assert found["readers"] == ["01", "1", "nan"]
    assert set(found["auc"]["A"]) == {"01", "1", "nan"}


def test_ratings_of_minus_infinity_are_ratings(capsys: Any, tmp_path: Path) -> None:
    frame = roe_metz(1)
    low = frame.rating < 0
    written = said(capsys, saved(frame.assign(rating=frame.rating.astype(str).where(~low, "-Inf")), tmp_path))
    assert written == said(capsys, saved(frame.assign(rating=frame.rating.where(~low, -99.0)), tmp_path, "other.csv"))


def test_one_treatment_is_no_error(capsys: Any, tmp_path: Path) -> None:
    found = said(capsys, saved(roe_metz(1, treatments=("A",)), tmp_path))
    assert found["comparisons"] == [] and found["means"][0]["se"] is not None
    assert found["warnings"][0].startswith("There is one treatment")


def test_imrmcs_format_is_known_by_its_content_or_its_name(capsys: Any, tmp_path: Path) -> None:
    frame = roe_metz(1)
    text = write_imrmc(read_ratings(frame)).replace("NR: 4", "NR: 5")
    from_csv = said(capsys, saved(frame, tmp_path))
    for name in ("study.imrmc", "study.txt"):
        (tmp_path / name).write_text(text)
        found = said(capsys, str(tmp_path / name))
        assert found["comparisons"] == from_csv["comparisons"]
        assert found["warnings"] == ["The header promises 5 readers and the data hold 4; the data count."]
    (tmp_path / "bad.imrmc").write_text("nothing\n")
    assert 'has no line "BEGIN DATA:"' in refused(capsys, str(tmp_path / "bad.imrmc"))


def test_an_infinite_threshold_or_a_perfect_reader_gives_json_without_nan(capsys: Any, tmp_path: Path) -> None:
    path = saved(roe_metz(1), tmp_path)
    found = said(capsys, path, "--fom", "sensitivity", "--threshold", "inf")
    assert found["auc"]["A"]["R1"] == 0 and found["comparisons"][0]["not_estimable"]
    frame = roe_metz(1)
    found = said(capsys, saved(frame.assign(rating=frame.truth), tmp_path, "perfect.csv"))
    assert found["comparisons"][0]["not_estimable"].startswith("not estimable, because")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("R1,A,0-2,0,", "R1,A,0-2,,", "The truth of line 4 (reader R1, treatment A, case 0-2) is missing"),
        ("R1,A,0-2,0,", "R1,A,0-2,0,high", "The rating of line 4 (reader R1, treatment A, case 0-2) is the text 'high"),
        ("R1,A,0-2,0,", "R1,A,0-1,0,", "Line 4 (reader R1, treatment A, case 0-1) was already rated in line 3; k"),
        ("R1,A,0-2,0,", "R1,A,0-2,1,", "Case 0-2 has truth 0 in line 24 (reader R2, treatment A, case 0-2) and 1 in"),
        ("R1,A,0-2,0,", ",A,0-2,0,", "Line 4 has no reader; give every row one."),
        ("R1,A,0-2,0,", "R1,A,0-2,yes,", "The truth of line 4 (reader R1, treatment A, case 0-2) is the text 'yes'"),
        ("R1,A,0-2,0,", "R1,A,0-2,0,1,", "Line 4 of"),
        ("truth", "gold", "The ratings table lacks the column truth; it needs reader, treatment, case, truth, rating"),
    ],
)
def test_a_faulty_table_is_one_sentence_with_the_line(
    old: str, new: str, sentence: str, capsys: Any, tmp_path: Path
) -> None:
    frame = roe_metz(1, readers=2)[["reader", "treatment", "case", "truth", "rating"]]
    path = tmp_path / "ratings.csv"
    path.write_text(frame.to_csv(index=False).replace(old, new, 1))
    assert refused(capsys, str(path)).startswith(sentence)


@pytest.mark.parametrize(("truth", "word"), [(1, "diseased"), (0, "non-diseased")])
def test_a_reader_with_one_class_is_one_sentence_with_the_line(
    truth: int, word: str, capsys: Any, tmp_path: Path
) -> None:
    frame = roe_metz(1)
    frame = frame[~((frame.reader == "R2") & (frame.treatment == "B") & (frame.truth == truth))]
    path = saved(frame, tmp_path)
    sentence = refused(capsys, path)
    assert sentence.startswith(f"Reader R2 rated no {word} case under treatment B (20 ratings from line ")
    line = int(sentence.split("from line ")[1].split(" ")[0])
    assert Path(path).read_text().splitlines()[line - 1].startswith("R2,B,")
    other = "sensitivity" if truth == 0 else "specificity"
    assert said(capsys, path, "--fom", other, "--threshold", "1")["comparisons"][0]["p"] is not None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--fom", "dprime"), "fom is 'dprime'; it must be one of"),
        (("--fom", "sensitivity"), "The sensitivity needs a threshold"),
        (("--reference", "Z"), "The reference treatment 'Z' is not among A, B."),
        (("--random", "nobody"), "random is 'nobody'; it must be one of 'readers+cases', 'cases', 'readers'."),
        (("--margin", "-1"), "The non-inferiority margin is -1; it must be between 0 and 1, in units of the figure"),
        (("--covariance", "bootstrap", "--seed", "-1"), "seed is -1; it must be 0 or a positive whole number."),
    ],
)
def test_an_option_that_names_nothing_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: Any, tmp_path: Path
) -> None:
    assert refused(capsys, saved(roe_metz(1), tmp_path), *arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mrmc", "x.csv", "--margin", "much"), "argument --margin: invalid float value: 'much'"),
        (("mrmc",), "the following arguments are required: RATINGS"),
        (("mrmc", "x.csv", "--speed"), "unrecognized arguments: --speed"),
        (("anova", "x.csv"), "argument COMMAND: invalid choice: 'anova'"),
    ],
)
def test_a_call_that_cannot_be_understood_is_one_line_that_leads_to_the_help(
    arguments: tuple[str, ...], sentence: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 2 and out == "" and err.count("\n") == 1
    assert sentence in err and err.endswith("--help shows how.\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace(",", ";"), " separates its fields by ';'; save the table with commas."),
        (lambda text: text.replace(",", "\t"), " separates its fields by a tab; save the table with commas."),
        (lambda text: text.replace(",", ";").replace(".", ","), " separates its fields by ';'; save the table with"),
        (lambda text: "\r\n\r\n", " is empty; it needs a header line and one row per reading."),
        (lambda text: "\n" + text, ""),
        (lambda text: text.replace("R1", "R\0", 1), " holds a NUL character, which no text has; save the table as CSV"),
    ],
    ids=["semicolons", "tabs", "decimal commas", "blank lines", "a blank line first", "binary"],
)
def test_a_file_of_another_kind_is_named_as_what_it_is(change: Any, sentence: str, capsys: Any, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(change(roe_metz(1).to_csv(index=False)).encode())
    if sentence:
        assert refused(capsys, str(path)).startswith(f"{path}{sentence}")
    else:
        assert said(capsys, str(path))["comparisons"]


def test_one_number_written_two_ways_is_not_taken_for_two_cases(capsys: Any, tmp_path: Path) -> None:
    frame = roe_metz(1, n0=20, n1=20)
    frame["case"] = [str(number) for number in pd.factorize(frame.case)[0]]
    frame.loc[frame.index[45], "case"] += ".0"
    wanted = f"Line 47 has the case '{frame.case.iloc[45]}', and other rows call it '{frame.case.iloc[5]}'; write it"
    assert refused(capsys, saved(frame, tmp_path)).startswith(wanted)


def test_a_file_that_is_not_there_is_one_sentence(capsys: Any, tmp_path: Path) -> None:
    assert "cannot be read" in refused(capsys, str(tmp_path / "none.csv"))
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in refused(capsys, str(tmp_path / "empty.csv"))
    (tmp_path / "header.csv").write_text("reader,treatment,case,truth,rating\n")
    assert "has no rows" in refused(capsys, str(tmp_path / "header.csv"))
    (tmp_path / "latin.csv").write_bytes("reader,ä\n".encode("latin-1"))
    assert "is not UTF-8" in refused(capsys, str(tmp_path / "latin.csv"))
