"""Text outcomes of a comparison: real reports, marks and reference findings in, plain numbers by arm out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from analysis.queries.readings import arms_of
from analysis.queries.text import model_reports, text_reads, truths
from analysis.services.text_outcomes import compute_text
from study.models import Assignment, Mark, Read, ReferenceFinding, ReferenceStandard, Stage, Study, Transcript
from study.services.assistance import store_output
from tests.factories import MODEL, make_case, make_evidence, make_study

from .comparison import FINDINGS

pytestmark = pytest.mark.django_db

BOX = (4.0, 4.0, 12.0, 12.0)
SENTENCES = {"Pneumothorax": "There is a pneumothorax.", "Cardiomegaly": "The heart is enlarged."}
NORMAL = "No acute finding."


@pytest.fixture(autouse=True)
def _files_of_this_test(data_dir: Path) -> None:
    """Frames lie in a folder of this test's own."""


def comparison(*, readers: int = 3, cases: int = 6) -> Study:
    """Read to the end, with nothing written yet; every third case is normal.

    GazeX is right about every case and draws its box where the reference's is.
    """
    made = []
    for k in range(cases):
        finding = None if k % 3 == 0 else FINDINGS[k % 2]
        case = make_case(f"case-{timezone.now().timestamp()}-{k:02d}", findings={finding: BOX} if finding else {})
        said = [
            {
                "sentence": SENTENCES[finding] if finding else NORMAL,
                "finding": finding,
                "side": "",
                "box": list(BOX) if finding else None,
                "verified": False,
            }
        ]
        image = case.images.get()
        store_output(
            image=image,
            model_sha256=MODEL,
            prompt_version="right",
            evidence={**make_evidence(image, prompt_version="right"), "report": said},
        )
        made.append(case)
    study = make_study(Study.Kind.COMPARISON, cases=made, readers=readers, findings=FINDINGS)
    now = timezone.now()
    Read.objects.bulk_create(
        Read(assignment=line, state=Read.State.SUBMITTED, opened_at=now, submitted_at=now)
        for line in Assignment.objects.filter(enrolment__study=study)
    )
    return study


def write(study: Study, report: Callable[[Read, set[str]], str | None]) -> None:
    """`report` of a read and the findings that are there → the text the reader signed, or None for none."""
    for read in Read.objects.filter(assignment__enrolment__study=study).select_related(
        "assignment__arm", "assignment__enrolment", "assignment__case__reference_standard"
    ):
        findings = read.assignment.case.reference_standard.findings
        text = report(read, set(findings.values_list("finding", flat=True)))
        if text is not None:
            Transcript.objects.create(read=read, stage=Stage.FINAL, text=text, sentences=[])


def aided(read: Read) -> bool:
    return read.assignment.arm.assistance != "none"


def right(findings: set[str]) -> str:
    return " ".join(SENTENCES[finding] for finding in sorted(findings)) or NORMAL


def compute(study: Study) -> dict[str, Any]:
    arms = arms_of(study)
    body = {"random": "readers_cases", "alpha": 0.05, "reference_arm": arms[0].key}
    found = compute_text(study=study, body=body, arms=arms)
    json.dumps(found, allow_nan=False)
    return found


def outcome(found: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for one in (*found["outcomes"], *found["model"]) if one["key"] == key)


def mean(found: dict[str, Any], key: str, arm: str) -> float:
    result = outcome(found, key)["result"]
    assert result is not None, outcome(found, key)["not_estimable"]
    return float(next(m["estimate"] for m in result["means"] if m["treatment"] == arm))


def test_reports_are_scored_against_the_references_findings() -> None:
    """Aided reports are right; unaided ones say a pneumothorax of every case: 2 of 4 right, 4 too many, 2 missed."""
    study = comparison()
    write(study, lambda read, findings: right(findings) if aided(read) else SENTENCES["Pneumothorax"])
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    for key in ("f1_micro", "f1_macro", "precision", "recall"):
        assert mean(found, key, aided_arm) == pytest.approx(1)
    assert mean(found, "precision", plain_arm) == pytest.approx(2 / 6)
    assert mean(found, "recall", plain_arm) == pytest.approx(2 / 4)
    assert mean(found, "f1_micro", plain_arm) == pytest.approx(4 / (4 + 4 + 2))
    assert mean(found, "f1_macro", plain_arm) == pytest.approx((4 / 8 + 0) / 2)
    pooled = found["findings"][plain_arm]
    assert pooled["micro"]["true_positive"] == 6 and pooled["macro"]["f1"] == pytest.approx(0.25)
    (comparison_,) = outcome(found, "f1_micro")["result"]["comparisons"]
    assert comparison_["treatments"] == [aided_arm, plain_arm] and comparison_["difference"] == pytest.approx(0.6)


def test_an_uncertain_mention_counts_as_stated_and_a_denial_does_not() -> None:
    study = comparison()
    said = "A pneumothorax is possible. The heart is not enlarged."
    write(study, lambda read, findings: said)
    plain_arm = arms_of(study)[0].key
    counts = compute(study)["findings"][plain_arm]["findings"]
    assert counts["Pneumothorax"]["true_positive"] == 6 and counts["Cardiomegaly"]["true_positive"] == 0


def test_reports_that_copy_gazex_are_like_its_and_above_chance() -> None:
    study = comparison()
    write(study, lambda read, findings: right(findings) if aided(read) else "Lungs are clear and well expanded.")
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    for key in ("bleu_1", "bleu_4", "rouge_l"):
        assert mean(found, f"{key}_to_model", aided_arm) == pytest.approx(1)
        assert mean(found, f"{key}_above_chance", aided_arm) > 0.2
        assert mean(found, f"{key}_to_model", plain_arm) < 0.6
    assert mean(found, "meteor_to_model", aided_arm) > mean(found, "meteor_to_model", plain_arm)
    assert mean(found, "findings_to_model", aided_arm) == pytest.approx(1)
    # All unaided reports are one another's words: readers agree fully there too.
    assert mean(found, "rouge_l_between_readers", plain_arm) == pytest.approx(1)
    assert mean(found, "words", plain_arm) == pytest.approx(6)


def test_every_interval_is_finite_or_says_why() -> None:
    rng = np.random.default_rng(2)
    study = comparison()
    write(
        study,
        lambda read, findings: right(findings) if rng.random() < 0.7 else "No pneumothorax. " * rng.integers(1, 4),
    )
    found = compute(study)
    for one in (*found["outcomes"], *found["model"]):
        if one["result"] is None:
            assert one["not_estimable"].startswith("not estimable, because"), one["key"]
            continue
        for line in (*one["result"]["means"], *one["result"]["comparisons"]):
            assert line["se"] is not None or line["not_estimable"], one["key"]
    assert len(json.dumps(found)) < 400_000


def test_reads_without_a_report_are_counted_and_named() -> None:
    study = comparison()

    def report(read: Read, findings: set[str]) -> str | None:
        code = read.assignment.enrolment.reader_code
        return None if code == "R01" else " … " if code == "R02" and not aided(read) else right(findings)

    write(study, report)
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    assert found["reads"][plain_arm] == {"submitted": 18, "with_report": 6, "with_marks": 0}
    assert len(found["missing"]) == 18
    assert {row["why"] for row in found["missing"]} == {"no report was written"}
    assert outcome(found, "words")["reads"] == {plain_arm: 6, aided_arm: 12}


def test_a_study_without_reports_and_marks_says_so() -> None:
    found = compute(comparison())
    assert found["not_estimable"] == "not estimable, because no read has a report or a mark"
    assert len(found["missing"]) == 36 and found["outcomes"] == []


def test_marks_are_scored_where_there_is_no_report() -> None:
    """Aided readers draw the reference's box; unaided ones a box half beside it, or a point in it."""
    study = comparison()
    for read in Read.objects.select_related("assignment__arm", "assignment__enrolment"):
        for found in ReferenceFinding.objects.filter(standard__case=read.assignment.case):
            shape, points = Mark.Shape.BOX, list(BOX)
            if not aided(read):
                shape, points = (
                    (Mark.Shape.POINT, [5.0, 5.0])
                    if read.assignment.enrolment.reader_code == "R01"
                    else (Mark.Shape.BOX, [8.0, 4.0, 16.0, 12.0])
                )
            Mark.objects.create(read=read, finding=found.finding, shape=shape, points=points)
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    assert found["not_estimable"] == ""
    assert mean(found, "miou", aided_arm) == pytest.approx(1)
    assert mean(found, "miou", plain_arm) == pytest.approx((0 + 1 / 3 + 1 / 3) / 3)
    assert mean(found, "hits", aided_arm) == pytest.approx(1)
    assert mean(found, "hits", plain_arm) == pytest.approx(1)  # the half-beside box's centre lies on the edge
    assert outcome(found, "f1_micro")["not_estimable"].startswith("not estimable, because no read has")


def test_a_mark_of_another_finding_hits_nothing() -> None:
    study = comparison()
    for read in Read.objects.all():
        Mark.objects.create(read=read, finding="Pneumothorax", shape=Mark.Shape.BOX, points=list(BOX))
    assert mean(compute(study), "hits", arms_of(study)[0].key) == pytest.approx(2 / 4)


def test_gazex_alone_is_scored_with_cases_random() -> None:
    study = comparison()
    write(study, lambda read, findings: NORMAL)
    found = compute(study)
    assert mean(found, "model_f1_micro", "GazeX") == pytest.approx(1)
    assert mean(found, "model_miou", "GazeX") == pytest.approx(1)
    assert outcome(found, "model_f1_micro")["result"]["random"] == "cases"
    assert outcome(found, "model_f1_micro")["result"]["means"][0]["not_estimable"]  # it is never wrong: no variance


def test_cases_without_a_report_of_gazex_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    study = comparison()
    write(study, lambda read, findings: right(findings))
    monkeypatch.setattr("analysis.queries.text.output_for", lambda **_: None)
    found = compute(study)
    assert {row["why"] for row in found["model_missing"]} == {"GazeX has no valid output for it"}
    assert outcome(found, "rouge_l_to_model")["not_estimable"].endswith("a report and a report of GazeX")
    assert outcome(found, "rouge_l_between_readers")["result"] is not None


def test_only_the_final_report_and_marks_count() -> None:
    study = comparison(readers=1, cases=1)
    read = Read.objects.all()[0]
    Transcript.objects.create(read=read, stage=Stage.INITIAL, text="An effusion.")
    Mark.objects.create(read=read, stage=Stage.INITIAL, finding="Pneumothorax", shape="point", points=[1.0, 1.0])
    assert [(one.text, one.points) for one in text_reads(study)] == [("", {}), ("", {})]


def test_a_report_kept_as_sentences_is_read_from_them() -> None:
    study = comparison(readers=1, cases=1)
    Transcript.objects.create(
        read=Read.objects.all()[0], text="", sentences=[{"text": "One.", "start": 0, "end": 1}, {"text": "Two."}]
    )
    assert sorted(one.text for one in text_reads(study)) == ["", "One. Two."]


def test_truth_is_of_the_findings_asked_for_on_the_image_that_is_read() -> None:
    case = make_case(findings={"Pneumothorax": BOX, "Fracture": BOX})
    outlined = make_case()
    standard = ReferenceStandard.objects.get(case=outlined)
    ReferenceFinding.objects.create(standard=standard, finding="Cardiomegaly", outline=[[1, 2], [5, 3], [4, 9]])
    unknown = make_case(reference=False)
    study = make_study(Study.Kind.COLLECTION, cases=[case, outlined], findings=FINDINGS)
    found = truths(study, [case, outlined, unknown])
    assert found[case.label].findings == {"Pneumothorax"}
    assert found[case.label].boxes == {"Pneumothorax": [BOX]}
    assert found[outlined.label].boxes == {"Cardiomegaly": [(1.0, 2.0, 5.0, 9.0)]}
    assert unknown.label not in found
    assert model_reports(study, [case])[case.label].missing == "the protocol names no model"
