"""A small comparison for the app's tests: made, opened, closed and unblinded by the real services.

The answers come from a seeded reader model, assisted answers a little better and faster, with a mark where a finding is
called present; GazeX's stored probabilities are right more often than not. Only the rows of the reads are written in
bulk, because hundreds of requests would take the tests minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from django.utils import timezone

from analysis.services.planning import lock_default_plan
from study.models import (
    Arm,
    Assignment,
    AssistanceOutput,
    AssistanceReveal,
    Mark,
    Membership,
    Read,
    Response,
    Study,
    User,
)
from study.queries.reading import shown_image
from study.services import assistance, studies
from tests.factories import MODEL, make_case, make_evidence, make_study, make_user

FINDINGS = ("Pneumothorax", "Cardiomegaly")
#: Where a finding lies, in image pixels of the 48 × 40 images of these tests.
BOXES = {"Pneumothorax": [4.0, 4.0, 16.0, 20.0], "Cardiomegaly": [10.0, 24.0, 30.0, 44.0]}


def open_comparison(
    *, readers: int = 4, cases: int = 12, simulated: bool = False, **options: Any
) -> tuple[Study, User]:
    """An open comparison and its coordinator; every third case is normal, the others have one finding each."""
    made = []
    for number in range(cases):
        findings = {} if number % 3 == 0 else {FINDINGS[number % 2]: BOXES[FINDINGS[number % 2]]}
        case = make_case(f"tests-{timezone.now().timestamp()}-{number:02d}", findings=findings)
        made.append(case)
        _store_advice(case, findings, number)
    coordinator = make_user()
    study = make_study(
        Study.Kind.COMPARISON,
        cases=made,
        readers=readers,
        coordinator=coordinator,
        findings=FINDINGS,
        simulated=simulated,
        **options,
    )
    assert Membership.objects.filter(study=study, user=coordinator, role="coordinator").exists()
    return study, coordinator


def _store_advice(case: Any, findings: dict[str, Any], number: int) -> None:
    """GazeX's stored answer: right but for every fifth case, where it misses or invents a finding."""
    image = shown_image(case)
    wrong = number % 5 == 4
    evidence, more = make_evidence(image), number % 100 / 1000
    evidence["findings"] = [
        {"finding": name, "probability": round((0.82 if (name in findings) != wrong else 0.12) + more, 3)}
        for name in FINDINGS
    ]
    assistance.store_output(image=image, model_sha256=MODEL, prompt_version="test-1", evidence=evidence, raw="")


def read_everything(study: Study, *, seed: int = 1, leave: int = 0, hide_assistance: bool = False) -> None:
    """Submit every assignment but the last ``leave``, with answers and times of the reader model."""
    rng = np.random.default_rng(seed)
    start = timezone.now() - timedelta(days=2)
    reads, responses, marks = [], [], []
    lines = list(
        Assignment.objects.filter(enrolment__study=study).select_related("arm", "case__reference_standard", "enrolment")
    )
    for line in lines[: len(lines) - leave]:
        aided = line.arm.assistance != Arm.Assistance.NONE
        seconds = float(np.exp(3.3 - 0.2 * aided + rng.normal(0, 0.25)))
        read = Read(
            assignment=line,
            state=Read.State.SUBMITTED,
            opened_at=start,
            submitted_at=start + timedelta(seconds=seconds),
        )
        reads.append(read)
        truth = set(line.case.reference_standard.findings.values_list("finding", flat=True))
        for finding in FINDINGS:
            latent = (finding in truth) * (1.6 if aided else 1.1) + rng.normal(0, 1)
            confidence = int(np.clip(np.digitize(latent, [-0.5, 0.3, 0.9, 1.6]) + 1, 1, 5))
            responses.append(Response(read=read, finding=finding, confidence=confidence))
            if confidence >= 4:
                marks.append(_mark(read, finding, hits=finding in truth and rng.random() < 0.8, own=rng.random() < 0.5))
    Read.objects.bulk_create(reads)
    outputs = {output.case_id: output for output in AssistanceOutput.objects.all()}
    AssistanceReveal.objects.bulk_create(
        AssistanceReveal(read=read, output=outputs[read.assignment.case_id])
        for read in reads
        if read.assignment.arm.assistance != Arm.Assistance.NONE and not hide_assistance
    )
    Response.objects.bulk_create(responses)
    Mark.objects.bulk_create(marks)


def _mark(read: Read, finding: str, *, hits: bool, own: bool) -> Mark:
    """A point on the finding's place or beside it, with a confidence of its own or without."""
    x0, y0, x1, y1 = BOXES[finding]
    points = [(x0 + x1) / 2, (y0 + y1) / 2] if hits else [38.0, 2.0]
    return Mark(read=read, finding=finding, shape="point", points=points, confidence=5 if own else None)


def unblinded_comparison(**options: Any) -> tuple[Study, User]:
    """A comparison that was read to the end, closed, its default plan locked, and unblinded."""
    study, coordinator = open_comparison(**options)
    read_everything(study)
    study = studies.close_study(study=study, actor=coordinator)
    lock_default_plan(study=study, actor=coordinator)
    return studies.unblind_study(study=study, actor=coordinator), coordinator
