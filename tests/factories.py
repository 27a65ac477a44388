"""Small real things for tests, made through the real services wherever there is one."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from gazex.findings import PHANTOM_FINDINGS
from study.models import (
    Arm,
    AssistanceOutput,
    Case,
    Enrolment,
    Image,
    Membership,
    Patient,
    Read,
    ReferenceFinding,
    ReferenceStandard,
    Study,
    User,
)
from study.queries.reading import image_of, shown_image
from study.services import assistance, frames, protocol_body, reading, studies

MODEL = "ab" * 32
PASSWORD = "a-password-for-tests"
_numbers = itertools.count(1)


def number_anew() -> None:
    """Names start at 1 again. Plans are drawn from them: a test must meet the same draw whatever ran before it."""
    global _numbers
    _numbers = itertools.count(1)


def make_user(username: str | None = None, *, roles: Mapping[Study, str] | None = None) -> User:
    """A person who can sign in with PASSWORD; `roles` gives them memberships."""
    user = User.objects.create_user(username or f"person-{next(_numbers)}", password=PASSWORD)
    for study, role in (roles or {}).items():
        Membership.objects.create(study=study, user=user, role=role)
    return user


def make_case(
    label: str | None = None,
    *,
    rows: int = 48,
    columns: int = 40,
    view: str = "PA",
    source: str = Case.Source.PHANTOM,
    findings: Mapping[str, Sequence[float] | None] | None = None,
    reference: bool = True,
) -> Case:
    """A case of its own patient with one image of noise. `findings`: finding -> box or None; none: a normal case."""
    number = next(_numbers)
    label = label or f"case-{number}"
    digest = hashlib.sha256(f"{label}/{number}".encode()).hexdigest()
    patient = Patient.objects.create(pseudonym=f"P{number:06d}", identity_hmac=digest)
    case = Case.objects.create(patient=patient, label=label, source=source)
    image = make_image(case, rows=rows, columns=columns, view=view)
    if reference:
        standard = ReferenceStandard.objects.create(case=case, method="made for a test")
        for finding, box in (findings or {}).items():
            ReferenceFinding.objects.create(
                standard=standard, image=image, finding=finding, box=list(box) if box is not None else None
            )
    return case


def make_image(case: Case, *, rows: int = 48, columns: int = 40, view: str = "PA") -> Image:
    number = next(_numbers)
    pixels = np.random.default_rng(number).integers(0, 4096, size=(rows, columns), dtype=np.uint16)
    return Image.objects.create(
        case=case,
        view=view,
        rows=rows,
        columns=columns,
        row_spacing_mm=0.2,
        column_spacing_mm=0.2,
        max_value=int(pixels.max()),
        voi=[{"type": "window", "center": 2048.0, "width": 4096.0, "function": "LINEAR"}],
        frame_sha256=frames.store(pixels),
        source_sha256=hashlib.sha256(f"source {number} {case.pk}".encode()).hexdigest(),
    )


def make_evidence(image: Image, *, model_sha256: str = MODEL, prompt_version: str = "test-1") -> dict[str, Any]:
    """Evidence that passes the schema: one boxed sentence, one probability, two fixations."""
    box = [1.0, 2.0, image.columns / 2, image.rows / 2]
    return {
        "schema": assistance.SCHEMA,
        "model_sha256": model_sha256,
        "prompt_version": prompt_version,
        "rows": image.rows,
        "columns": image.columns,
        "report": [
            {
                "sentence": "There is a left pneumothorax.",
                "finding": "Pneumothorax",
                "side": "left",
                "box": box,
                "verified": True,
            }
        ],
        "findings": [{"finding": "Pneumothorax", "probability": 0.8}],
        "trajectory": [{"x": 3.0, "y": 4.0, "duration_ms": 250.0}, {"x": 9.0, "y": 7.5, "duration_ms": 310.0}],
    }


def make_output(image: Image, *, model_sha256: str = MODEL) -> AssistanceOutput:
    return assistance.store_output(
        image=image,
        model_sha256=model_sha256,
        prompt_version="test-1",
        evidence=make_evidence(image, model_sha256=model_sha256),
        raw="made for a test",
    )


def make_study(
    kind: str = Study.Kind.COLLECTION,
    *,
    slug: str | None = None,
    name: str | None = None,
    cases: Sequence[Case] | int = 3,
    readers: Sequence[User] | int = 1,
    coordinator: User | None = None,
    findings: Sequence[str] = PHANTOM_FINDINGS,
    gaze: str = "none",
    washout_days: int = 0,
    model_sha256: str = MODEL,
    assistance_kind: str = "concurrent",
    consented: bool = False,
    opened: bool = True,
    simulated: bool = False,
    seed: int = 1,
) -> Study:
    """A study with its readers enrolled, opened unless told otherwise.

    A comparison gets a stored output of `model_sha256` for each case that lacks one.
    """
    number = next(_numbers)
    slug = slug or f"study-{number}"
    if isinstance(cases, int):
        cases = [make_case() for _ in range(cases)]
    if isinstance(readers, int):
        readers = [make_user() for _ in range(readers)]
    coordinator = coordinator or make_user()
    if kind == Study.Kind.COMPARISON:
        body = studies.comparison_body(
            findings=findings, model_sha256=model_sha256, gaze=gaze, washout_days=washout_days, seed=seed
        )
        body["arms"][1]["assistance"] = assistance_kind
        for case in cases:
            image = shown_image(case)
            if image is not None:
                make_output(image, model_sha256=model_sha256)
    else:
        body = studies.collection_body(findings=findings, gaze=gaze, seed=seed)
    # The state machine of every way of reading is tested, also of those that the reading room has no controls for yet.
    with patch.object(protocol_body, "READABLE", tuple(Arm.Assistance.values)):
        study = studies.create_study(
            name=name or f"Study {number}",
            slug=slug,
            kind=kind,
            body=body,
            cases=cases,
            actor=coordinator,
            simulated=simulated,
        )
        for i, user in enumerate(readers, start=1):
            enrolment = studies.enrol(study=study, user=user, reader_code=f"R{i:02d}", actor=coordinator)
            if consented:
                studies.give_consent(enrolment=enrolment, actor=user)
        return studies.open_study(study=study, actor=coordinator) if opened else study


def make_answers(read: Read, *, confidence: int | Mapping[str, int] = 1, **changes: Any) -> dict[str, Any]:
    """What the reading room would post: every finding answered, a point mark, one timed sentence."""
    image = image_of(read)
    findings = read.assignment.period.protocol.body["findings"]
    return {
        "responses": [
            {"finding": f, "confidence": confidence if isinstance(confidence, int) else confidence.get(f, 1)}
            for f in findings
        ],
        "marks": [
            {"finding": findings[0], "shape": "point", "points": [image.columns / 2, image.rows / 2], "confidence": 4}
        ],
        "report": {
            "text": "The lungs are clear.",
            "sentences": [{"text": "The lungs are clear.", "start": 1000.0, "end": 4000.0}],
        },
        "t": 5000.0,
        "last_event": -1,
        **changes,
    }


def make_read(
    enrolment: Enrolment, *, state: str = Read.State.SUBMITTED, confidence: int | Mapping[str, int] = 1
) -> Read:
    """Open the reader's next read and take it to the state asked for, step by step as its arm demands."""
    user = enrolment.user
    read = reading.open_next(enrolment=enrolment, actor=user)
    kind = read.assignment.arm.assistance
    if state == Read.State.INVALIDATED:
        return reading.invalidate(read=read, actor=user, reason="made for a test")
    if state == Read.State.OPEN:
        return read
    if kind in reading.LOCKS_INITIAL:
        read = reading.lock_initial(read=read, answers=make_answers(read, confidence=confidence), actor=user)
        if state == Read.State.INITIAL_LOCKED:
            return read
    if kind != Arm.Assistance.NONE:
        reading.reveal_assistance(read=read, actor=user)
        read.refresh_from_db()
    if state == Read.State.REVEALED:
        return read
    return reading.submit(read=read, answers=make_answers(read, confidence=confidence), actor=user)


def finish_reading(enrolment: Enrolment, *, confidence: int | Mapping[str, int] = 1) -> list[Read]:
    """Read everything that is left of this enrolment's plan."""
    left = enrolment.assignments.filter(read__isnull=True).count()
    return [make_read(enrolment, confidence=confidence) for _ in range(left)]
