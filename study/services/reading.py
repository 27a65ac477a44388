"""The one state machine of a read: open -> [initial_locked -> revealed] -> submitted | invalidated.

Which acts a state allows follows from the arm:

- unassisted: open -> submitted
- concurrent: open (the output is revealed while open, and has to be before submission) -> submitted
- second read: open -> initial_locked -> revealed -> submitted
- on request: open -> initial_locked -> [revealed] -> submitted

Every move is one conditional UPDATE, so that of two simultaneous ones exactly one succeeds. Times are the server's.
"""

from __future__ import annotations

import math
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from study import registries
from study.models import (
    Arm,
    Assignment,
    AssistanceOutput,
    AssistanceReveal,
    AuditEntry,
    Enrolment,
    Mark,
    Read,
    ReadEvent,
    Response,
    Stage,
    Study,
    Transcript,
    User,
)
from study.queries.reading import FINAL, current_read_of, image_of, next_assignment_of, opens_at
from study.services.answers import Answers, parse_answers

from . import assistance, audit
from .errors import BadInput, NotAllowed, NotYet, Refused

State: Any = Read.State
Assistance: Any = Arm.Assistance

SUBMITTABLE: dict[str, tuple[str, ...]] = {
    Assistance.NONE: (State.OPEN,),
    Assistance.CONCURRENT: (State.OPEN,),
    Assistance.ON_REQUEST: (State.INITIAL_LOCKED, State.REVEALED),
    Assistance.SECOND_READ: (State.REVEALED,),
}
LOCKS_INITIAL = (Assistance.ON_REQUEST, Assistance.SECOND_READ)
MAX_EVENTS = 2000
MAX_PAYLOAD = 10_000


@transaction.atomic
def open_next(*, enrolment: Enrolment, actor: User) -> Read:
    """The reader's current read: the one that is open, else the next of the plan, opened now.

    Raises
    ------
    Refused
        Where the study is not open, the reader has withdrawn, consent is missing, or nothing is left to read.
    NotYet
        During a washout; the sentence says until when.
    """
    enrolment = Enrolment.objects.select_for_update(of=("self",)).select_related("study").get(pk=enrolment.pk)
    refuse_unless_reading(enrolment, actor)
    current = current_read_of(enrolment)
    if current is not None:
        return current
    assignment = next_assignment_of(enrolment)
    if assignment is None:
        raise Refused(f"You have read every case of {enrolment.study}; there is nothing left to read.")
    refuse_before_opening(assignment)
    read = Read.objects.create(assignment=assignment, opened_at=timezone.now())
    _audit(read, actor, AuditEntry.Act.READ_OPENED, {})
    return read


def refuse_unless_reading(enrolment: Enrolment, actor: User) -> None:
    """Refuse a person who may not read in this enrolment now."""
    if actor.pk != enrolment.user_id:
        raise NotAllowed("Only the reader may read in their own place of the study.")
    if enrolment.withdrawn_at is not None:
        raise Refused(f"You have withdrawn from {enrolment.study}; ask its coordinator if that is a mistake.")
    if enrolment.study.state != Study.State.OPEN:
        raise Refused(f"{enrolment.study} is {enrolment.study.get_state_display().lower()}; nothing can be read in it.")


def refuse_before_opening(assignment: Assignment) -> None:
    """Refuse a new read during a washout, or without the consent that the protocol needs."""
    enrolment = assignment.enrolment
    if assignment.period.protocol.body["gaze"] == "required" and enrolment.consented_at is None:
        raise Refused(f"{enrolment.study} records the reader's gaze; give your consent on the worklist first.")
    moment = opens_at(assignment)
    if moment is not None and timezone.now() < moment:
        raise NotYet(
            f"{assignment.period} of {enrolment.study} opens on {moment:%-d %B %Y at %H:%M} UTC, "
            f"{assignment.period.washout_days} days after your last read."
        )


@transaction.atomic
def record_events(*, read: Read, events: Any, actor: User) -> int:
    """Keep what happened in the reading room, in its order; return the sequence number that is expected next.

    A sequence number that is stored already is passed over (the page sends again what was not acknowledged), one that
    is further on than expected is not taken: the page goes back to the number returned. The first is 0 or 1.

    Raises
    ------
    BadInput
        Where an event is not one; none of the list is stored then.
    Refused
        Where the read is submitted or invalidated.
    """
    items = _parse_events(events)
    read = _locked(read, actor)
    if read.state in FINAL:
        raise Refused("This read is finished; it takes no more events.")
    last = read.events.aggregate(last=Max("sequence"))["last"]
    if last is None:
        following = 1 if items and items[0].sequence == 1 else 0
    else:
        following = last + 1
    fresh = []
    for item in items:
        if item.sequence == following:
            item.read = read
            fresh.append(item)
            following += 1
    ReadEvent.objects.bulk_create(fresh, batch_size=500)
    return following


def _parse_events(events: Any) -> list[ReadEvent]:
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise BadInput(f"The events have to be a list of at most {MAX_EVENTS}.")
    items = []
    for event in events:
        if not isinstance(event, dict):
            raise BadInput("An event is not an object with seq, kind, t and payload.")
        sequence, kind, moment = event.get("seq"), event.get("kind"), event.get("t")
        payload = event.get("payload", {})
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence < 2**31:
            raise BadInput("An event's seq is not a whole number from 0.")
        if not isinstance(kind, str) or not 0 < len(kind) <= 40 or "\x00" in kind:
            raise BadInput(f"The kind of event {sequence} is not a text of 1 to 40 characters.")
        if not isinstance(moment, int | float) or isinstance(moment, bool) or not math.isfinite(moment):
            raise BadInput(f"The time t of event {sequence} is not a number.")
        if not isinstance(payload, dict) or len(str(payload)) > MAX_PAYLOAD:
            raise BadInput(f"The payload of event {sequence} is not an object of at most {MAX_PAYLOAD} characters.")
        items.append(ReadEvent(sequence=sequence, kind=kind, browser_ms=float(moment), payload=payload))
    return sorted(items, key=lambda item: item.sequence)


@transaction.atomic
def reveal_assistance(*, read: Read, actor: User) -> AssistanceOutput:
    """Give the reader the stored output, where the arm and the state allow; the first time is recorded and audited.

    Raises
    ------
    NotAllowed
        In an unassisted arm, before the initial answers are locked, or after the read is finished.
    Refused
        Where no valid output is stored (a study does not open then).
    """
    read = _locked(read, actor)
    kind = read.assignment.arm.assistance
    if kind == Assistance.NONE:
        raise NotAllowed("This case is read without assistance.")
    if read.state in FINAL:
        raise NotAllowed("This read is finished; its assistance is no longer shown.")
    if kind in LOCKS_INITIAL and read.state == State.OPEN:
        raise NotAllowed("Lock your own answers first; the assistance is shown after that.")
    seen = AssistanceReveal.objects.filter(read=read).select_related("output").first()
    if seen is not None:
        return seen.output
    output = assistance.output_for(
        image=image_of(read), model_sha256=read.assignment.period.protocol.body["model_sha256"]
    )
    if output is None:
        raise Refused("The assistance for this case is missing; tell the coordinator of the study.")
    now = timezone.now()
    state = State.REVEALED if kind in LOCKS_INITIAL else State.OPEN
    _move(read, (read.state,), state, revealed_at=now)
    AssistanceReveal.objects.create(read=read, output=output)
    _audit(read, actor, AuditEntry.Act.ASSISTANCE_REVEALED, {"output": str(output.pk), "model": output.model_sha256})
    return output


@transaction.atomic
def lock_initial(*, read: Read, answers: Any, actor: User) -> Read:
    """Keep the reader's own answers, for good, before any assistance is shown."""
    read = _locked(read, actor)
    if read.assignment.arm.assistance not in LOCKS_INITIAL:
        raise NotAllowed("This case has no initial answers to lock; submit the read instead.")
    parsed = _parsed(read, answers)
    if read.state == State.INITIAL_LOCKED or read.state == State.REVEALED:
        raise Refused("The initial answers of this read are locked already.")
    _move(read, (State.OPEN,), State.INITIAL_LOCKED, initial_locked_at=timezone.now())
    _write(read, parsed, Stage.INITIAL)
    return read


@transaction.atomic
def submit(*, read: Read, answers: Any, actor: User) -> Read:
    """Keep the final answers and close the read. All is written or nothing is.

    Raises
    ------
    BadInput
        With one sentence about the first thing in the answers that is wrong.
    Refused
        Where the read is finished already, not ready for submission, or no longer the reader's to submit.
    """
    read = _locked(read, actor)
    refuse_unless_reading(read.assignment.enrolment, actor)
    parsed = _parsed(read, answers)
    kind = read.assignment.arm.assistance
    if read.state not in FINAL and read.state not in SUBMITTABLE[kind]:
        raise Refused(
            "Look at the assistance before you submit this read."
            if read.state == State.INITIAL_LOCKED
            else "Lock your own answers before you submit this read."
        )
    if kind == Assistance.CONCURRENT and read.state == State.OPEN and read.revealed_at is None:
        raise Refused("GazeX has not been shown for this read yet; reload the page, then submit.")
    _move(read, SUBMITTABLE[kind], State.SUBMITTED, submitted_at=timezone.now())
    _write(read, parsed, Stage.FINAL)
    _audit(
        read,
        actor,
        AuditEntry.Act.READ_SUBMITTED,
        {
            "browser_ms": parsed.browser_ms,
            "last_event": parsed.last_event,
            "events": read.events.count(),
            "seconds": read.seconds,
        },
    )
    for tell in registries.read_submitted:
        tell(read)
    return read


@transaction.atomic
def invalidate(*, read: Read, actor: User | None, reason: str) -> Read:
    """Take an unfinished read out of the study, with the reason in the audit trail. A submitted read stays as it is."""
    reason = reason.strip()
    if not 0 < len(reason) <= 500:
        raise BadInput("Say in at most 500 characters why the read is invalid.")
    read = _fresh(read)
    _move(read, (State.OPEN, State.INITIAL_LOCKED, State.REVEALED), State.INVALIDATED, invalidated_at=timezone.now())
    _audit(read, actor, AuditEntry.Act.READ_INVALIDATED, {"reason": reason})
    return read


def _fresh(read: Read) -> Read:
    return (
        Read.objects.select_for_update(of=("self",))
        .select_related(
            "assignment__enrolment__study", "assignment__arm", "assignment__period__protocol", "assignment__case"
        )
        .get(pk=read.pk)
    )


def _locked(read: Read, actor: User) -> Read:
    """The row as it is now, held for this transaction, for its own reader only."""
    read = _fresh(read)
    if actor.pk != read.assignment.enrolment.user_id:
        raise NotAllowed("This read belongs to another reader.")
    return read


def _move(read: Read, sources: tuple[str, ...], target: str, **fields: Any) -> None:
    """Change the state where it still is one of the sources."""
    if not Read.objects.filter(pk=read.pk, state__in=sources).update(state=target, **fields):
        # Another request got there first, or the read was finished before this one came.
        state = Read.objects.values_list("state", flat=True).get(pk=read.pk)
        raise Refused(f"This read is {State(state).label.lower()} already; go back to the worklist.")
    read.refresh_from_db(fields=["state", *fields])


def _parsed(read: Read, answers: Any) -> Answers:
    image = image_of(read)
    findings = read.assignment.period.protocol.body["findings"]
    return parse_answers(answers, findings=findings, rows=image.rows, columns=image.columns)


def _write(read: Read, answers: Answers, stage: Any) -> None:
    Response.objects.bulk_create(
        [Response(read=read, stage=stage, finding=f, confidence=c) for f, c in answers.responses.items()]
    )
    Mark.objects.bulk_create(
        [
            Mark(read=read, stage=stage, finding=m.finding, shape=m.shape, points=m.points, confidence=m.confidence)
            for m in answers.marks
        ]
    )
    Transcript.objects.create(read=read, stage=stage, text=answers.text, sentences=answers.sentences)


def _audit(read: Read, actor: User | None, act: str, detail: dict[str, Any]) -> None:
    assignment = read.assignment
    audit.record(
        actor=actor,
        act=act,
        subject=f"Read {read.pk}",
        detail={"study": assignment.enrolment.study.slug, "reader": assignment.enrolment.reader_code, **detail},
    )
