from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from analysis.models import AnalysisResult, AnalysisRun
from analysis.queries.readings import ReadingsError, completeness, endpoint_readings, readings, to_csv
from analysis.services.analysing import ABANDONED_AFTER, analyse_study, fail, perform, request_run, steps
from analysis.services.planning import lock_default_plan
from analysis.services.reporting import deviations, sentences
from analysis.stats import analyze
from analysis.stats.reading_time import reading_time
from study.models import AuditEntry, InsertOnlyError, Study
from study.services import studies
from study.services.errors import Refused
from tests.analysis.comparison import FINDINGS, open_comparison, read_everything, unblinded_comparison
from tests.factories import finish_reading, make_case, make_study, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def test_the_stored_numbers_are_what_the_library_says_of_the_exported_table() -> None:
    study, coordinator = unblinded_comparison()
    result = analyse_study(study=study, actor=coordinator)
    frame = pd.read_csv(io.BytesIO(to_csv(endpoint_readings(readings(study), "any"))))
    assert list(frame.columns) == ["reader", "case", "arm", "period", "truth", "rating", "seconds"]
    assert len(frame) == 4 * 12 * 2
    alone = analyze(frame.rename(columns={"arm": "treatment"}), reference="unassisted").to_dict()
    stored = result.numbers["endpoints"][0]
    assert stored["primary"] and stored["result"]["comparisons"] == alone["comparisons"]
    assert stored["result"]["means"] == alone["means"]
    time = reading_time(frame.assign(assisted=(frame.arm == "gazex").astype(int)))
    assert result.numbers["time"]["models"]["gazex"]["ratio"] == pytest.approx(time.ratio, rel=1e-4)
    keys = ["any", *FINDINGS, "sensitivity any", "specificity any", "time"]
    assert [e["key"] for e in result.numbers["endpoints"]] == keys


def test_any_finding_takes_the_highest_confidence_and_the_union_of_truths() -> None:
    frame = pd.DataFrame(
        [
            ("R1", "c1", "a", 1, "x", 0, 2, 9.0),
            ("R1", "c1", "a", 1, "y", 1, 4, 9.0),
            ("R1", "c2", "a", 1, "x", 0, 1, 8.0),
        ],
        columns=["reader", "case", "arm", "period", "finding", "truth", "rating", "seconds"],
    )
    assert endpoint_readings(frame, "any")[["case", "truth", "rating"]].values.tolist() == [["c1", 1, 4], ["c2", 0, 1]]
    assert endpoint_readings(frame, "x")["rating"].tolist() == [2, 1]


def test_the_same_readings_and_code_give_the_same_numbers_and_hash() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    first, second = (analyse_study(study=study, actor=coordinator) for _ in range(2))
    assert first.numbers == second.numbers
    assert first.inputs_sha256 == second.inputs_sha256
    assert first.code_version == second.code_version
    assert AuditEntry.objects.filter(act=AuditEntry.Act.ANALYSED).count() == 2
    assert first.inputs["plan_sha256"] == study.analysis_plan.sha256


def test_a_result_is_recorded_once() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    result = analyse_study(study=study, actor=coordinator)
    with pytest.raises(InsertOnlyError):
        result.save()
    for statement in ("UPDATE analysis_analysisresult SET code_version = 'x'", "DELETE FROM analysis_analysisresult"):
        with pytest.raises(DatabaseError, match="recorded once"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert AnalysisResult.objects.count() == 1


def test_nothing_is_computed_before_unblinding() -> None:
    study, coordinator = open_comparison(readers=1, cases=3)
    read_everything(study)
    lock_default_plan(study=study, actor=coordinator)
    for act in (analyse_study, request_run):
        with pytest.raises(Refused, match="it is analysed once it is unblinded"):
            act(study=study, actor=coordinator)
    assert not AnalysisResult.objects.exists() and not AnalysisRun.objects.exists()


def test_a_case_without_truth_stops_the_analysis_and_is_named() -> None:
    cases = [make_case("with-truth", findings={"Pneumothorax": None}), make_case("without-truth", reference=False)]
    coordinator = make_user()
    study = make_study(Study.Kind.COMPARISON, cases=cases, readers=1, coordinator=coordinator, findings=FINDINGS)
    finish_reading(study.enrolments.get())
    with pytest.raises(ReadingsError, match=r"1 of the cases .* no reference standard \(without-truth\)"):
        readings(study)


def test_a_study_closed_early_says_which_ratings_are_missing() -> None:
    study, coordinator = open_comparison(readers=2, cases=6)
    read_everything(study, leave=1)
    study = studies.close_study(study=study, actor=coordinator, reason="out of time")
    lock_default_plan(study=study, actor=coordinator)
    study = studies.unblind_study(study=study, actor=coordinator)
    numbers = analyse_study(study=study, actor=coordinator).numbers
    primary = numbers["endpoints"][0]["result"]
    said = [primary["method"], *primary["conventions"], *primary["warnings"]]
    assert any("1 of 24 ratings are missing (reader R02 has no rating" in line for line in said), said
    assert all(cell["auc"] is not None for cell in primary["cells"])
    assert "1 of 24 assigned reads were not submitted." in deviations(numbers)
    assert "The study was closed early: out of time" in deviations(numbers)
    json.dumps(numbers, allow_nan=False)


def test_one_reader_is_answered_with_a_reason_not_a_number() -> None:
    study, coordinator = unblinded_comparison(readers=1, cases=6)
    numbers = analyse_study(study=study, actor=coordinator).numbers
    assert any("because there is one reader" in sentence for sentence in sentences(numbers))


def test_the_sentences_say_the_result_and_whether_readers_were_real() -> None:
    study, coordinator = unblinded_comparison(simulated=True)
    numbers = analyse_study(study=study, actor=coordinator).numbers
    said = sentences(numbers)
    assert said[0] == "The readers of this study are simulated; its numbers say nothing about people."
    (comparison,) = numbers["endpoints"][0]["result"]["comparisons"]
    assert said[1].startswith("With GazeX the readers’ average AUC for any finding was 0.")
    assert f"difference {comparison['difference']:.3f} (95 % CI " in said[1].replace("−", "-")
    assert "ratio 0." in said[2]


def test_assistance_that_was_not_shown_as_the_protocol_says_is_a_deviation() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    numbers = analyse_study(study=study, actor=coordinator).numbers
    assert numbers["conduct"]["shown"] == {"unassisted": [0, 12], "gazex": [12, 12]} and deviations(numbers) == []
    study, coordinator = open_comparison(readers=2, cases=6)
    read_everything(study, hide_assistance=True)
    study = studies.close_study(study=study, actor=coordinator)
    lock_default_plan(study=study, actor=coordinator)
    study = studies.unblind_study(study=study, actor=coordinator)
    numbers = analyse_study(study=study, actor=coordinator).numbers
    assert deviations(numbers) == ["GazeX was shown in only 0 of 12 reads of the arm “With GazeX”."]


def test_changed_decisions_are_counted_per_reader() -> None:
    study, coordinator = unblinded_comparison()
    numbers = analyse_study(study=study, actor=coordinator).numbers
    frame = endpoint_readings(readings(study), "any")
    right = frame.assign(right=(frame.rating >= 4) == (frame.truth == 1)).pivot(
        index=["reader", "case"], columns="arm", values="right"
    )
    counted = numbers["endpoints"][0]["changes"]["gazex"]["readers"]
    for reader, own in right.groupby(level="reader"):
        assert counted[reader]["wrong_to_right"] == int((~own.unassisted & own.gazex).sum())
        assert counted[reader]["right_to_wrong"] == int((own.unassisted & ~own.gazex).sum())
        assert counted[reader]["pairs"] == 12


def test_completeness_counts_without_telling_the_arms_apart_by_time() -> None:
    study, _ = open_comparison(readers=2, cases=3)
    read_everything(study, leave=2)
    arms, rows = completeness(study)
    assert [arm.assistance for arm in arms] == ["none", "concurrent"]
    assert [(row.reader, row.submitted, row.assigned) for row in rows] == [("R01", 6, 6), ("R02", 4, 6)]
    assert rows[0].median_seconds is not None and rows[0].median_seconds > 0
    assert not hasattr(rows[0], "seconds_by_arm")


@pytest.mark.usefixtures("eager_celery")
def test_the_run_button_works_through_celery(django_capture_on_commit_callbacks: Any) -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    with django_capture_on_commit_callbacks(execute=True):
        run = request_run(study=study, actor=coordinator)
        assert (run.state, run.is_active) == ("queued", True)
    run.refresh_from_db()
    assert (run.state, run.done) == ("succeeded", run.total) and run.total == steps(run.result.numbers["plan"])
    assert run.result is not None and run.result.made_by == coordinator


def test_a_second_request_returns_the_run_that_is_under_way() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    first = request_run(study=study, actor=coordinator)
    assert request_run(study=study, actor=coordinator) == first
    AnalysisRun.objects.filter(pk=first.pk).update(touched_at=timezone.now() - ABANDONED_AFTER - timedelta(seconds=1))
    second = request_run(study=study, actor=coordinator)
    first.refresh_from_db()
    assert second != first and first.state == "failed" and "worker that ran it stopped" in first.sentence


def test_a_run_is_done_by_one_worker_only() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    run = request_run(study=study, actor=coordinator)
    assert perform(run_id=str(run.pk)).state == "succeeded"
    assert perform(run_id=str(run.pk)) is None
    assert AnalysisResult.objects.count() == 1
    assert fail(run_id=str(run.pk), sentence="too late").state == "succeeded"


def test_a_run_that_cannot_be_done_says_why() -> None:
    study, coordinator = open_comparison(readers=1, cases=3)
    study = studies.close_study(study=study, actor=coordinator, reason="nobody came")
    lock_default_plan(study=study, actor=coordinator)
    study = studies.unblind_study(study=study, actor=coordinator)
    run = perform(run_id=str(request_run(study=study, actor=coordinator).pk))
    assert run.state == "failed" and "has no submitted reads; there is nothing to analyse" in run.sentence


def test_the_command_prints_the_sentences_and_stores_the_result() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    out = io.StringIO()
    call_command("analyze_study", study.slug, user=coordinator.username, stdout=out, stderr=io.StringIO())
    result = AnalysisResult.objects.get()
    assert out.getvalue().splitlines() == [*sentences(result.numbers), f"Result {result.pk}"]
    with pytest.raises(CommandError, match="There is no study called 'nowhere'"):
        call_command("analyze_study", "nowhere")
