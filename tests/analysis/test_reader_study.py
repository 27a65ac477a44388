"""A whole study from its tables: what the endpoints, hypotheses and subgroups say, and that bad files are named."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES
from analysis.services import plan_body
from analysis.services.plan_body import complete, endpoint
from analysis.services.reporting import endpoint_sentences, endpoint_words, primary, summary_rows
from analysis.stats import analyze
from analysis.stats.parametric import fit_proper
from analysis.stats.reader_study import TablesError, compute, endpoints, outcomes, parse
from analysis.stats.reader_study.compute import guarded, steps
from analysis.stats.reader_study.endpoints import adjusted, verdict
from analysis.stats.reader_study.reasons import because
from analysis.stats.reader_study.tables import COLUMNS, endpoint_readings, written

ARMS = [
    {"key": "a", "name": "Unassisted", "assistance": "none"},
    {"key": "b", "name": "With GazeX", "assistance": "concurrent"},
]


@pytest.fixture(autouse=True)
def without_smooth_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitting curves takes most of the time, and one test here is about them."""
    if "smooth" not in request.node.name:
        monkeypatch.delitem(outcomes.OUTCOMES, "smooth")


def study(**plan: Any) -> dict[str, Any]:
    body = complete({"primary": "x", "secondary": [], "fom": "auc", "reference_arm": "a", "margin": None, **plan})
    return {
        "slug": "s", "name": "S", "simulated": False, "plan": {**body, **{k: v for k, v in plan.items() if k in body}},
        "arms": ARMS, "protocols": [], "closed_early": "", "gaze": "none",
    }  # fmt: skip


def files(*, readers: int = 3, cases: int = 24, seed: int = 1, drop: int = 0) -> dict[str, bytes]:
    """A small study: better and faster with GazeX, marks where called present, GazeX wrong on every sixth case."""
    rng = np.random.default_rng(seed)
    names = [f"c{n:02d}" for n in range(cases)]
    truth = {name: int(n % 2) for n, name in enumerate(names)}
    readings, marks, reads = [], [], []
    for j in range(readers):
        for n, name in enumerate(names):
            for arm, gain in (("a", 0.8), ("b", 1.6)):
                rating = int(np.clip(np.digitize(truth[name] * gain + rng.normal(), [-0.4, 0.4, 0.9, 1.5]) + 1, 1, 5))
                seconds = float(np.exp(3 - 0.2 * (arm == "b") + rng.normal(0, 0.2)))
                period = 1 + int((n + j) % 2 == (arm == "a"))
                reads.append((f"R{j}", name, arm, period, n + 1, "submitted", "", arm == "b", seconds, "none"))
                readings.append((f"R{j}", name, arm, period, "x", truth[name], rating, seconds))
                if rating >= 3:
                    hit = truth[name] == 1 and rng.random() < 0.8
                    lesion = "x 1" if hit else ""
                    marks.append((f"R{j}", arm, name, "x", "LL" if hit else "NL", lesion, rating))
    advice = [(n, "x", truth[n], 0.1 + 0.7 * (truth[n] if i % 6 else 1 - truth[n])) for i, n in enumerate(names)]
    return {
        "readings": written("readings", readings[: len(readings) - drop]),
        "marks": written("marks", marks),
        "lesions": written("lesions", [(n, "x", "x 1", 1) for n in names if truth[n]]),
        "assistance": written("assistance", advice),
        "cases": written(
            "cases",
            [(n, "Phantom", "PA" if i % 3 else "AP", "F", "", "DX", "x" * truth[n]) for i, n in enumerate(names)],
        ),
        "readers": written("readers", [(f"R{j}", 1, 0) for j in range(readers)]),
        "reads": written("reads", reads),
    }


def test_an_endpoint_is_what_the_library_says_of_its_readings() -> None:
    numbers = compute(parse(files()), study())
    table = endpoint_readings(parse(files()).readings, "x").rename(columns={"arm": "treatment"})
    alone = analyze(table, reference="a").to_dict()
    assert numbers["endpoints"][0]["result"]["comparisons"] == alone["comparisons"]
    assert numbers["reliance"]["not_estimable"] == "" and numbers["standalone"]["not_estimable"] == ""


def test_every_figure_of_merit_can_be_an_endpoint() -> None:
    foms = ("auc", "sensitivity", "specificity", "partial_auc", "wafroc", "time")
    endpoints = [endpoint("x", fom, "primary" if fom == "auc" else "secondary") for fom in foms]
    numbers = compute(parse(files()), study(endpoints=endpoints, multiplicity="holm"))
    for found in numbers["endpoints"]:
        assert found["error"] == "", (found["key"], found["error"])
        assert found["verdicts"][0]["p"] is not None, found["key"]
    assert [found["fom"] for found in numbers["endpoints"]] == list(foms)
    assert len(numbers["multiplicity"]["rows"]) == 5
    assert all(row["p_adjusted"] >= row["p"] for row in numbers["multiplicity"]["rows"])


def test_the_operating_points_are_the_sensitivity_and_specificity_endpoints() -> None:
    endpoints = [endpoint("x", role="primary"), endpoint("x", "sensitivity"), endpoint("x", "specificity")]
    auc, sensitivity, specificity = compute(parse(files()), study(endpoints=endpoints))["endpoints"]
    for arm in ("a", "b"):
        for reader, point in auc["curves"][arm]["points"].items():
            assert point["tpr"] == pytest.approx(sensitivity["result"]["auc"][arm][reader])
            assert 1 - point["fpr"] == pytest.approx(specificity["result"]["auc"][arm][reader])


@pytest.mark.parametrize(
    ("hypothesis", "difference", "shown"),
    [
        ("superiority", 0.1, True), ("superiority", -0.1, False), ("superiority", 0.01, False),
        ("noninferiority", 0.01, True), ("noninferiority", -0.045, False),
        ("equivalence", 0.01, True), ("equivalence", 0.045, False),
    ],
)  # fmt: skip
def test_a_hypothesis_is_shown_where_its_interval_says_so(hypothesis: str, difference: float, shown: bool) -> None:
    comparison = {
        "treatments": ["b", "a"], "difference": difference, "se": 0.015, "df": 30.0,
        "p": 0.001 if abs(difference) > 0.05 else 0.5, "not_estimable": "",
    }  # fmt: skip
    margin = None if hypothesis == "superiority" else 0.05
    planned = endpoint("x", "auc", "primary", hypothesis, margin)
    assert verdict(comparison, planned, study()["plan"])["shown"] is shown


def test_what_the_library_tested_is_what_the_verdict_says() -> None:
    for hypothesis in ("noninferiority", "equivalence"):
        planned = [endpoint("x", "auc", "primary", hypothesis, 0.2)]
        found = compute(parse(files()), study(endpoints=planned))["endpoints"][0]
        (comparison,) = found["result"]["comparisons"]
        assert found["verdicts"][0]["p"] == comparison[hypothesis]["p"] is not None
        bare = {key: value for key, value in comparison.items() if key != hypothesis}
        assert verdict(bare, planned[0], study()["plan"])["p"] == pytest.approx(comparison[hypothesis]["p"])


def test_one_sided_p_values_enter_the_family_doubled() -> None:
    rows = [
        {"key": k, "words": k, "primary": False, "verdicts": [{"arm": "b", "hypothesis": h, "p": p}]}
        for k, h, p in (("one", "superiority", 0.04), ("two", "noninferiority", 0.01), ("three", "superiority", None))
    ]
    found = adjusted(rows, "holm", 0.05)["rows"]
    assert [row["p"] for row in found] == [0.04, 0.02, None]
    assert [row["p_adjusted"] for row in found] == [pytest.approx(0.08), pytest.approx(0.06), None]
    assert adjusted(rows, "none", 0.05)["rows"][0]["p_adjusted"] is None


def test_missing_reads_are_analysed_by_another_way_or_left_out_as_the_plan_says() -> None:
    tables = parse(files(drop=1))
    available = compute(tables, study(missing="available"))["endpoints"][0]["result"]
    assert available["comparisons"][0]["ci"] is not None and "U-statistic" in available["method"]
    found = compute(tables, study(missing="complete"))
    assert "Obuchowski–Rockette" in found["endpoints"][0]["result"]["method"]
    assert found["endpoints"][0]["result"]["diseased"] + found["endpoints"][0]["result"]["nondiseased"] == 23


def test_a_subgroup_is_the_same_analysis_of_its_cases_alone() -> None:
    numbers = compute(parse(files()), study(subgroups=["view", "sex", "finding"]))
    rows = {(row["group"], row["level"]): row for row in numbers["subgroups"]["rows"]}
    assert set(rows) == {("view", "AP"), ("view", "PA")}  # one sex, one finding: no subgroups
    tables = parse(files())
    cases = tables.cases.loc[tables.cases["view"] == "AP", "case"]
    table = endpoint_readings(tables.readings[tables.readings["case"].isin(cases)], "x")
    alone = analyze(table.rename(columns={"arm": "treatment"}), reference="a")
    (change,) = rows["view", "AP"]["comparisons"]
    assert change["difference"] == alone.comparisons[0].difference
    assert change["ci"] == pytest.approx(alone.comparisons[0].ci)
    assert "p" not in change, "subgroups are exploratory"


def test_marks_without_places_of_the_truth_are_no_wafroc_and_say_so() -> None:
    made = files()
    made["lesions"] = written("lesions", [("c01", "x", "x 1", 0)])
    planned = [endpoint("x", "wafroc", "primary")]
    found = compute(parse(made), study(endpoints=planned))["endpoints"][0]
    assert "have one without a box: c01" in found["error"] and found["result"] is None


def test_an_outcome_that_fails_says_why_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError

    assert guarded(broken)["not_estimable"] == (
        "not estimable, because its computation stopped with an error (ZeroDivisionError)"
    )
    numbers = compute(parse({**files(), "assistance": written("assistance", [])}), study())
    for name in ("reliance", "standalone"):
        text = str(numbers[name])
        assert "no probabilities of GazeX" in text or "No probabilities of GazeX" in text
    assert numbers["endpoints"][0]["result"] is not None


def test_smooth_curves_are_those_of_the_library_for_each_reader() -> None:
    tables = parse(files(readers=2))
    found = compute(tables, study())["smooth"]
    table = endpoint_readings(tables.readings, "x")
    own = table[(table["reader"] == "R0") & (table["arm"] == "b")]
    fit = fit_proper(own["truth"].to_numpy(), own["rating"].to_numpy(dtype=float))
    assert found["arms"]["b"]["readers"]["R0"]["auc"] == pytest.approx(fit.auc.estimate)


def test_progress_is_told_before_every_step() -> None:
    told: list[tuple[str, int, int]] = []
    plan = study()
    compute(parse(files(readers=2, cases=8)), plan, progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(steps(plan["plan"])))


def test_text_stays_text_and_numbers_read_back_as_they_were() -> None:
    rows = [("01", "NA", "a", 1, "x", 1, 5, 0.1 + 0.2), ("None", "1e3", "a", 1, "x", 0, 1, None)]
    table = parse({"readings": written("readings", rows)}).readings
    assert table["reader"].tolist() == ["01", "None"] and table["case"].tolist() == ["NA", "1e3"]
    assert table["seconds"][0] == 0.1 + 0.2 and pd.isna(table["seconds"][1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff", "readings.csv is no CSV table in UTF-8"),
        (b"reader\nR1\n", "readings.csv needs exactly the columns reader, case, arm"),
        (",".join(COLUMNS["readings"]).encode() + b"\nR1\n", "Line 2 of readings.csv has 1 fields; it needs 8"),
        (
            ",".join(COLUMNS["readings"]).encode() + b"\nR1,c,a,1,x,1,high,2\n",
            "Line 2 of readings.csv has rating 'high'; it must be a whole",
        ),
        (
            ",".join(COLUMNS["readings"]).encode() + b"\nR1,c,a,1,x,1,2,nan\n",
            "Line 2 of readings.csv has seconds 'nan'; it must be a number or empty",
        ),
    ],
)
def test_a_faulty_file_is_named_with_its_line(content: bytes, sentence: str) -> None:
    with pytest.raises(TablesError) as error:
        parse({"readings": content})
    assert str(error.value).startswith(sentence)


def test_a_primary_reading_time_has_no_subgroups_and_the_result_says_so() -> None:
    body = study(endpoints=[endpoint("any", "time", "primary")], subgroups=["finding"])
    found = compute(parse(files()), body)["subgroups"]
    assert found["rows"] == []
    assert found["not_estimable"].startswith("not estimable, because the primary endpoint is reading time")
    assert compute(parse(files()), study(subgroups=[]))["subgroups"] == {"not_estimable": "", "rows": []}


def only(content: bytes, keep: Callable[[list[str]], bool]) -> bytes:
    head, *rows = content.decode().splitlines(keepends=True)
    return "".join([head, *(row for row in rows if keep(row.split(",")))]).encode()


def test_where_only_complete_cases_are_used_every_outcome_leaves_the_others_out() -> None:
    given, gone = files(drop=5), {"c21", "c22", "c23"}
    never_read = {
        "readings": only(given["readings"], lambda row: row[1] not in gone),
        "marks": only(given["marks"], lambda row: row[2] not in gone),
    }
    endpoints = [endpoint("any", role="primary"), endpoint("any", "wafroc"), endpoint("any", "time")]
    found = compute(parse(given), study(missing="complete", endpoints=endpoints))
    wanted = compute(parse(given | never_read), study(endpoints=endpoints))
    for part in ("endpoints", "time", "reliance", "standalone", "calibration", "agreement", "subgroups"):
        assert found[part] == wanted[part], part
    named = [row["what"] for row in found["conduct"]["exclusions"]]
    assert named == [f"case {case}: left out of the analysis" for case in sorted(gone)]


def test_where_no_case_is_complete_nothing_is_computed_of_the_others() -> None:
    given = files(readers=2, cases=6)
    one_arm_each = only(given["readings"], lambda row: (int(row[0][1:]) + int(row[1][1:]) + (row[2] == "a")) % 2 == 0)
    found = compute(parse(given | {"readings": one_arm_each}), study(missing="complete"))
    why = "no case was read by every reader in every arm"
    for part in ("time", "reliance", "standalone", "calibration", "agreement", "subgroups"):
        assert why in found[part]["not_estimable"], part
    assert why in found["endpoints"][0]["error"]


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        ("There is one reader.", "not estimable, because there is one reader"),
        ("A read is missing.", "not estimable, because a read is missing"),
        ("AUC needs both classes.", "not estimable, because AUC needs both classes"),
        ("not estimable, because it is flat", "not estimable, because it is flat"),
    ],
)
def test_a_reason_is_one_clause_without_a_full_stop(sentence: str, clause: str) -> None:
    assert because(sentence) == clause


TEXTS = [
    "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "'=1", "''=1", "'quoted'", "\tx", "a\rb", "a\r\nb", 'say "no", twice',
    "<script>", "NA", "007", "",
]  # fmt: skip


def test_texts_come_back_from_a_file_as_they_were_and_none_is_a_formula_in_it() -> None:
    rows = [("R1", "c1", "a", 1, n, "invalidated", text, False, None, "none") for n, text in enumerate(TEXTS, start=1)]
    content = written("reads", rows)
    assert parse({"reads": content}).reads["reason"].tolist() == TEXTS
    cells = [row[6] for row in csv.reader(io.StringIO(content.decode(), newline=""))]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r") and cell]


def test_an_arm_that_nobody_read_is_said_to_be_so_beside_gazex() -> None:
    given = files(readers=2, cases=8)
    found = compute(parse(given | {"readings": only(given["readings"], lambda row: row[2] == "b")}), study())
    assert found["standalone"]["arms"]["a"]["not_estimable"] == (
        "not estimable, because no read of this arm was submitted"
    )
    assert found["standalone"]["arms"]["b"]["not_estimable"] == ""
    assert found["endpoints"][0]["error"].startswith("No read of the reference arm was submitted")


def test_with_three_arms_every_comparison_with_the_reference_has_its_row_and_figure() -> None:
    given = files()
    head, *rows = given["readings"].decode().splitlines(keepends=True)
    third = [row.replace(",b,", ",c,") for row in rows if ",b," in row]
    body = study(
        endpoints=[endpoint("any", role="primary"), endpoint("any", "time"), endpoint("any", "wafroc")],
        multiplicity="holm",
        subgroups=["view"],
    )
    body["arms"] = [*ARMS, {"key": "c", "name": "Second read", "assistance": "second_read"}]
    numbers = compute(parse(given | {"readings": "".join([head, *rows, *third]).encode()}), body)
    found = [(row["endpoint"]["fom"], row["of"], row["comparison"] is not None) for row in summary_rows(numbers)]
    assert found == [(fom, arm, True) for fom in ("auc", "time", "wafroc") for arm in ("With GazeX", "Second read")]
    assert [bool(row["adjusted"]) for row in summary_rows(numbers)] == [False, False, True, True, True, True]
    said = " ".join(endpoint_sentences(numbers, primary(numbers)))
    assert "These 2 comparisons are not adjusted for their number." in said
    drawn = FIGURES["subgroups"](numbers, primary(numbers)).decode()
    assert "AP, With GazeX" in drawn and "AP, Second read" in drawn


@pytest.mark.parametrize("fom", plan_body.FOMS)
def test_the_pages_call_an_endpoint_what_the_library_calls_it(fom: str) -> None:
    """The pages' words stand apart, because the library's come with pandas."""
    for finding in ("any", "Pneumothorax"):
        one = endpoint(finding, fom)
        assert (plan_body.key_of(one), endpoint_words(one)) == (endpoints.key_of(one), endpoints.words_of(one))
    assert plan_body.FOMS == endpoints.FOM_WORDS
