"""A study's life: draft -> open (protocol and plan locked) -> closed -> unblinded. Only these functions move it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from study import registries
from study.models import (
    Arm,
    AssistanceOutput,
    AuditEntry,
    Case,
    Enrolment,
    Membership,
    Period,
    ProtocolVersion,
    Read,
    Study,
    StudyCase,
    User,
)
from study.queries.reading import FINAL
from study.queries.studies import protocol_of, readable_cases, unfinished_assignments

from . import audit, locking
from .errors import BadInput, Refused
from .protocol_body import check_body, collection_body, comparison_body

__all__ = [
    "add_researcher",
    "close_study",
    "collection_body",
    "comparison_body",
    "create_study",
    "enrol",
    "give_consent",
    "open_study",
    "unblind_study",
]


#: Of a reason to close early, in characters; it goes into the reason of every read that is invalidated with it.
MAX_REASON = 400


@transaction.atomic
def create_study(
    *,
    name: str,
    slug: str,
    kind: str,
    body: dict[str, Any],
    cases: Iterable[Case],
    actor: User,
    simulated: bool = False,
) -> Study:
    """A draft with its first protocol; whoever creates it is its coordinator.

    Raises
    ------
    BadInput
        One sentence: the name, the slug, the protocol's body or the cases break a rule.
    """
    name = name.strip()
    if not 0 < len(name) <= 200:
        raise BadInput("A study needs a name of at most 200 characters.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,49}", slug) or slug == "new":
        raise BadInput(f"{slug!r} is no short name; use up to 50 lower-case letters, digits and hyphens.")
    if Study.objects.filter(slug=slug).exists():
        raise BadInput(f"There is a study called {slug} already; choose another short name.")
    check_body(kind, body)
    chosen = {case.pk: case for case in cases}
    if not chosen:
        raise BadInput("The study has no cases; choose at least one.")
    without = set(chosen) - set(readable_cases().filter(pk__in=chosen).values_list("pk", flat=True))
    if without:
        raise BadInput(f"The case {chosen[min(without)].label} has no image; import one or leave the case out.")

    study = Study.objects.create(slug=slug, name=name, kind=kind, simulated=simulated, created_by=actor)
    protocol = ProtocolVersion.objects.create(study=study, number=1, body=body)
    Arm.objects.bulk_create([Arm(protocol=protocol, **arm) for arm in body["arms"]])
    Period.objects.bulk_create(
        [Period(protocol=protocol, number=number, washout_days=days) for number, days in locking.periods_of(body)]
    )
    StudyCase.objects.bulk_create([StudyCase(protocol=protocol, case=case) for case in chosen.values()])
    Membership.objects.create(study=study, user=actor, role=Membership.Role.COORDINATOR)
    audit.record(
        actor=actor,
        act=AuditEntry.Act.STUDY_CREATED,
        subject=f"Study {slug}",
        detail={"kind": kind, "cases": len(chosen), "simulated": simulated},
    )
    return study


@transaction.atomic
def enrol(*, study: Study, user: User, reader_code: str, actor: User | None) -> Enrolment:
    """Give a person a reader's place, under a code. Only in a draft: the plan is made of its readers."""
    study = Study.objects.select_for_update().get(pk=study.pk)
    if study.state != Study.State.DRAFT:
        raise Refused(
            f"{study} is {study.get_state_display().lower()}; its plan is locked, and no reader can be added."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}", reader_code):
        raise BadInput(f"{reader_code!r} is no reader code; use up to 16 letters, digits, - and _.")
    try:
        with transaction.atomic():
            enrolment = Enrolment.objects.create(study=study, user=user, reader_code=reader_code)
    except IntegrityError as error:
        raise Refused(f"{user} or the code {reader_code} is enrolled in {study} already.") from error
    Membership.objects.get_or_create(study=study, user=user, role=Membership.Role.READER)
    audit.record(
        actor=actor, act=AuditEntry.Act.ENROLLED, subject=f"Study {study.slug}", detail={"reader": reader_code}
    )
    return enrolment


@transaction.atomic
def add_researcher(*, study: Study, user: User, actor: User | None) -> Membership:
    """Let a person see the study as a researcher: its cases, its model's answers, its releases. Twice is once."""
    membership, added = Membership.objects.get_or_create(study=study, user=user, role=Membership.Role.RESEARCHER)
    if added:
        detail = {"role": "researcher", "user": user.pk}
        audit.record(actor=actor, act=AuditEntry.Act.ENROLLED, subject=f"Study {study.slug}", detail=detail)
    return membership


@transaction.atomic
def give_consent(*, enrolment: Enrolment, actor: User) -> Enrolment:
    """The reader's own consent to the recording of their gaze. Giving it twice is giving it once."""
    if actor.pk != enrolment.user_id:
        raise Refused("Only the reader can consent to the recording of their gaze.")
    given = Enrolment.objects.filter(pk=enrolment.pk, consented_at__isnull=True, withdrawn_at__isnull=True).update(
        consented_at=timezone.now()
    )
    enrolment.refresh_from_db()
    if given:
        audit.record(
            actor=actor,
            act=AuditEntry.Act.CONSENTED,
            subject=f"Study {enrolment.study.slug}",
            detail={"reader": enrolment.reader_code},
        )
    return enrolment


@transaction.atomic
def open_study(*, study: Study, actor: User | None) -> Study:
    """Lock the protocol, materialise the plan, and let reading begin.

    Raises
    ------
    BadInput
        Where the protocol breaks a rule, as one that was drafted before the rule may.
    Refused
        Where the study is no draft, has no readers, lacks a stored output for an assisted arm, or a room above refuses.
    """
    study = _claimed(study, Study.State.DRAFT, Study.State.OPEN)
    protocol = protocol_of(study)
    check_body(study.kind, protocol.body)
    if not study.enrolments.filter(withdrawn_at__isnull=True).exists():
        raise Refused(f"{study} has no readers; enrol at least one before it opens.")
    _refuse_without_outputs(study, protocol)
    _ask_the_rooms_above(study, Study.State.OPEN)
    locking.lock(protocol=protocol, actor=actor)
    return _moved(study, Study.State.OPEN, AuditEntry.Act.STUDY_OPENED, actor, {})


@transaction.atomic
def close_study(*, study: Study, actor: User | None, reason: str = "") -> Study:
    """End the reading. With a reason it closes although reads are missing; the open ones are invalidated.

    Raises
    ------
    BadInput
        Where the reason is longer than 400 characters.
    Refused
        Where the study is not open, or reads are missing and no reason is given.
    """
    from .reading import invalidate

    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise BadInput(
            f"Say in at most {MAX_REASON} characters why the study closes early; the reason has {len(reason)}."
        )
    study = _claimed(study, Study.State.OPEN, Study.State.CLOSED)
    missing = unfinished_assignments(study).count()
    if missing and not reason:
        raise Refused(f"{missing} reads of {study} are not finished; finish them, or close it early with a reason.")
    _ask_the_rooms_above(study, Study.State.CLOSED)
    for read in Read.objects.filter(assignment__enrolment__study=study).exclude(state__in=FINAL):
        invalidate(read=read, actor=actor, reason=f"The study was closed early: {reason}")
    detail = {"reason": reason, "unfinished": missing} if missing else {}
    return _moved(study, Study.State.CLOSED, AuditEntry.Act.STUDY_CLOSED, actor, detail)


@transaction.atomic
def unblind_study(*, study: Study, actor: User | None) -> Study:
    """Let the results be seen. Only a closed study can be unblinded, and it stays so."""
    study = _claimed(study, Study.State.CLOSED, Study.State.UNBLINDED)
    _ask_the_rooms_above(study, Study.State.UNBLINDED)
    return _moved(study, Study.State.UNBLINDED, AuditEntry.Act.STUDY_UNBLINDED, actor, {})


def _claimed(study: Study, source: Any, target: Any) -> Study:
    study = Study.objects.select_for_update().get(pk=study.pk)
    if study.state != source:
        raise Refused(
            f"{study} is {study.get_state_display().lower()}; only a study that is {Study.State(source).label.lower()} "
            f"can become {Study.State(target).label.lower()}."
        )
    return study


def _moved(study: Study, target: Any, act: str, actor: User | None, detail: dict[str, Any]) -> Study:
    study.state = target
    study.save(update_fields=["state"])
    audit.record(actor=actor, act=act, subject=f"Study {study.slug}", detail=detail)
    return study


def _ask_the_rooms_above(study: Study, target: Any) -> None:
    for ask in registries.before_transition:
        refusal = ask(study, target)
        if refusal is not None:
            raise Refused(refusal.sentence, url=refusal.url)


def _refuse_without_outputs(study: Study, protocol: ProtocolVersion) -> None:
    """Nothing is generated while a reader waits, so every case's output has to lie ready."""
    from study.queries.reading import shown_image

    model = protocol.body["model_sha256"]
    if model is None:
        return
    images = {row.case: shown_image(row.case) for row in protocol.study_cases.select_related("case")}
    ready = set(
        AssistanceOutput.objects.filter(
            model_sha256=model, valid=True, image__in=filter(None, images.values())
        ).values_list("image_id", flat=True)
    )
    missing = [case for case, image in images.items() if image is None or image.pk not in ready]
    if missing:
        raise Refused(
            f"{len(missing)} of {len(images)} cases of {study} have no valid output of the model {model[:12]}…, "
            f"{missing[0].label} among them; compute the outputs first, then open the study."
        )
