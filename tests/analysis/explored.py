"""Comparisons for the explorer's tests: one with answers written by hand, one with gaze."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from analysis.services.planning import lock_default_plan
from capture.models import Recording
from capture.services import processing, recordings
from study.models import Arm, Assignment, Case, Read, Response, Study, User
from study.queries.reading import image_of
from study.services import assistance, reading, studies
from tests.analysis.comparison import FINDINGS
from tests.capture.room.synthetic import Scene, store_epoch, store_page
from tests.factories import MODEL, make_answers, make_case, make_evidence, make_study, make_user

#: (reader, case): Pneumothorax without and with GazeX, then Cardiomegaly without and with. None: not read.
#: Case 0 is normal, 1 has Cardiomegaly, 2 has Pneumothorax; GazeX says Pneumothorax with 0.8 everywhere.
ANSWERS: dict[tuple[str, int], tuple[int | None, int | None, int | None, int | None]] = {
    ("R01", 0): (1, 5, 1, 1),
    ("R02", 0): (4, 2, 1, 1),
    ("R03", 0): (1, 1, 3, 3),
    ("R01", 1): (1, 1, 2, 4),
    ("R02", 1): (5, 1, 1, 1),
    ("R03", 1): (1, 1, 5, 5),
    ("R01", 2): (3, 4, 1, 1),
    ("R02", 2): (2, 4, 1, 1),
    ("R03", 2): (5, None, 1, None),
}


def cases_of(study: Study) -> list[Case]:
    """The study's cases in the order they were made."""
    return list(Case.objects.filter(study_cases__protocol__study=study).order_by("label"))


def answered_comparison() -> tuple[Study, User, list[Case]]:
    """An unblinded comparison of three readers and three cases with ANSWERS."""
    found: list[dict[str, None]] = [{}, {"Cardiomegaly": None}, {"Pneumothorax": None}]
    cases = [make_case(f"answered-{n}", findings=one) for n, one in enumerate(found)]
    coordinator = make_user()
    study = make_study(Study.Kind.COMPARISON, cases=cases, readers=3, coordinator=coordinator, findings=FINDINGS)
    start = timezone.now() - timedelta(days=2)
    for line in Assignment.objects.filter(enrolment__study=study).select_related("arm", "enrolment"):
        aided = line.arm.assistance != Arm.Assistance.NONE
        given = ANSWERS[line.enrolment.reader_code, [case.pk for case in cases].index(line.case_id)]
        values = dict(zip(FINDINGS, given[1::2] if aided else given[0::2], strict=True))
        if None in values.values():
            continue
        read = Read.objects.create(
            assignment=line,
            state=Read.State.SUBMITTED,
            opened_at=start,
            submitted_at=start + timedelta(seconds=20 + 10 * aided),
        )
        for finding, confidence in values.items():
            Response.objects.create(read=read, finding=finding, confidence=confidence)
    return unblinded(study, coordinator), coordinator, cases


def unblinded(study: Study, coordinator: User) -> Study:
    study = studies.close_study(study=study, actor=coordinator, reason="made for a test")
    lock_default_plan(study=study, actor=coordinator)
    return studies.unblind_study(study=study, actor=coordinator)


def recorded_comparison() -> tuple[Study, User, list[Case]]:
    """An unblinded comparison of two readers and two cases. R01's gaze was recorded on the first case, in both arms."""
    cases = [
        make_case(f"recorded-{n}", rows=1000, columns=1000, findings=found)
        for n, found in enumerate(({"Pneumothorax": (600, 100, 850, 500)}, {}))
    ]
    for case in cases:
        image = case.images.get()
        evidence = make_evidence(image)
        evidence["report"][0]["box"] = [580.0, 120.0, 860.0, 480.0]
        evidence["trajectory"] = [
            {"x": 150.0 + 90 * n, "y": 500.0 + 300 * (-1) ** n, "duration_ms": 400.0} for n in range(8)
        ]
        assistance.store_output(image=image, model_sha256=MODEL, prompt_version="test-1", evidence=evidence)
    coordinator = make_user()
    study = make_study(
        Study.Kind.COMPARISON, cases=cases, readers=2, coordinator=coordinator, findings=FINDINGS, gaze="optional",
        consented=True,
    )  # fmt: skip
    for enrolment in study.enrolments.all():
        for _ in range(enrolment.assignments.count()):
            read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
            watched = enrolment.reader_code == "R01" and read.assignment.case == cases[0]
            recording = _watch(read) if watched else None
            _submit(read, enrolment.user)
            if recording is not None:
                assert processing.process(recording_id=recording.pk) is not None
    return unblinded(study, coordinator), coordinator, cases


def _watch(read: Read) -> Recording:
    scene = Scene.zoom_and_pan(read.assignment.period.number, looks=18)
    for state in scene.states:
        state["view"] |= {"wc": 2048, "ww": 4096}
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows)
    store_page(recording, scene.states, scene.exchanges)
    return recording


def _submit(read: Read, user: User) -> None:
    if read.assignment.arm.assistance != Arm.Assistance.NONE:
        reading.reveal_assistance(read=read, actor=user)
        read.refresh_from_db()
    image = image_of(read)
    answers: dict[str, Any] = make_answers(read, confidence=2)
    box = [image.columns * 0.55, image.rows * 0.1, image.columns * 0.85, image.rows * 0.5]
    answers["marks"].append({"finding": FINDINGS[0], "shape": "box", "points": box, "confidence": 4})
    reading.submit(read=read, answers=answers, actor=user)
