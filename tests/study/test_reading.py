"""The state machine of a read: what each state allows, and that of two simultaneous acts one wins."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from study import registries
from study.models import AssistanceReveal, AuditEntry, Enrolment, Mark, Read, Response, Transcript
from study.queries.reading import current_read_of
from study.services import reading, studies
from study.services.errors import BadInput, NotAllowed, NotYet, Refused
from tests.factories import finish_reading, make_answers, make_read, make_study, make_user

pytestmark = pytest.mark.django_db


def reader(kind: str = "collection", **options: Any) -> Enrolment:
    return make_study(kind, **options).enrolments.get()


def reach(assistance: str, state: str) -> Read:
    """A read of an arm with this assistance, in this state."""
    if assistance == "none":
        return make_read(reader(), state=state)
    enrolment = reader("comparison", cases=2, assistance_kind=assistance)
    while True:
        assignment = enrolment.assignments.filter(read__isnull=True).order_by("period__number", "position")[0]
        if assignment.arm.assistance == assistance:
            return make_read(enrolment, state=state)
        make_read(enrolment)


ACTS: dict[str, Callable[[Read], Any]] = {
    "record": lambda read: reading.record_events(
        read=read, events=[{"seq": 0, "kind": "zoom", "t": 1.5}], actor=read.assignment.enrolment.user
    ),
    "reveal": lambda read: reading.reveal_assistance(read=read, actor=read.assignment.enrolment.user),
    "lock": lambda read: reading.lock_initial(
        read=read, answers=make_answers(read), actor=read.assignment.enrolment.user
    ),
    "submit": lambda read: reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user),
    "invalidate": lambda read: reading.invalidate(read=read, actor=None, reason="for a test"),
}
# (assistance, state) -> act -> the state it leads to; an act that is not named is refused.
TABLE: dict[tuple[str, str], dict[str, str]] = {
    ("none", "open"): {"record": "open", "submit": "submitted", "invalidate": "invalidated"},
    ("none", "submitted"): {},
    ("none", "invalidated"): {},
    ("concurrent", "open"): {"record": "open", "reveal": "open", "invalidate": "invalidated"},
    ("concurrent", "revealed"): {
        "record": "open",
        "reveal": "open",
        "submit": "submitted",
        "invalidate": "invalidated",
    },
    ("concurrent", "submitted"): {},
    ("concurrent", "invalidated"): {},
    ("second_read", "open"): {"record": "open", "lock": "initial_locked", "invalidate": "invalidated"},
    ("second_read", "initial_locked"): {
        "record": "initial_locked",
        "reveal": "revealed",
        "invalidate": "invalidated",
    },
    ("second_read", "revealed"): {
        "record": "revealed",
        "reveal": "revealed",
        "submit": "submitted",
        "invalidate": "invalidated",
    },
    ("second_read", "submitted"): {},
    ("second_read", "invalidated"): {},
    ("on_request", "open"): {"record": "open", "lock": "initial_locked", "invalidate": "invalidated"},
    ("on_request", "initial_locked"): {
        "record": "initial_locked",
        "reveal": "revealed",
        "submit": "submitted",
        "invalidate": "invalidated",
    },
    ("on_request", "revealed"): {
        "record": "revealed",
        "reveal": "revealed",
        "submit": "submitted",
        "invalidate": "invalidated",
    },
    ("on_request", "submitted"): {},
    ("on_request", "invalidated"): {},
}


@pytest.mark.parametrize(
    ("place", "act"), itertools.product(TABLE, ACTS), ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
def test_each_state_allows_exactly_the_acts_of_the_table(place: tuple[str, str], act: str) -> None:
    read = reach(*place)
    before, entries = read.state, AuditEntry.objects.count()
    written = (Response.objects.count(), Mark.objects.count(), Transcript.objects.count())
    if act in TABLE[place]:
        ACTS[act](read)
        read.refresh_from_db()
        assert read.state == TABLE[place][act]
    else:
        with pytest.raises(Refused):
            ACTS[act](read)
        read.refresh_from_db()
        assert read.state == before and AuditEntry.objects.count() == entries
        assert (Response.objects.count(), Mark.objects.count(), Transcript.objects.count()) == written


def test_the_next_read_follows_the_plan_to_its_end() -> None:
    enrolment = reader(cases=4)
    planned = list(enrolment.assignments.order_by("period__number", "position").values_list("pk", flat=True))
    assert [read.assignment_id for read in finish_reading(enrolment)] == planned
    with pytest.raises(Refused, match="You have read every case of"):
        reading.open_next(enrolment=enrolment, actor=enrolment.user)


def test_an_open_read_is_returned_again_and_keeps_its_time() -> None:
    enrolment = reader()
    first = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    again = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    assert (again.pk, again.opened_at) == (first.pk, first.opened_at)
    assert AuditEntry.objects.filter(act="read_opened").count() == 1


def test_an_invalidated_read_makes_way_for_the_next() -> None:
    enrolment = reader()
    first = make_read(enrolment, state="invalidated")
    assert AuditEntry.objects.get(act="read_invalidated").detail["reason"] == "made for a test"
    assert reading.open_next(enrolment=enrolment, actor=enrolment.user).assignment.position == 2
    assert first.seconds is None


def test_the_second_period_waits_for_the_washout_and_says_until_when() -> None:
    enrolment = reader("comparison", cases=2, washout_days=10)
    reads = [make_read(enrolment), make_read(enrolment)]
    opens = reads[-1].submitted_at + timedelta(days=10)
    with pytest.raises(NotYet) as refusal:
        reading.open_next(enrolment=enrolment, actor=enrolment.user)
    assert refusal.value.sentence == (
        f"Period 2 of {enrolment.study} opens on {opens:%-d %B %Y at %H:%M} UTC, 10 days after your last read."
    )
    assert current_read_of(enrolment) is None


@pytest.mark.parametrize(("days", "opens"), [(9.99, False), (10.01, True)])
def test_the_washout_ends_when_its_days_have_passed(days: float, opens: bool, monkeypatch) -> None:
    enrolment = reader("comparison", cases=1, washout_days=10)
    now = make_read(enrolment).submitted_at + timedelta(days=days)
    monkeypatch.setattr(timezone, "now", lambda: now)
    if opens:
        assert reading.open_next(enrolment=enrolment, actor=enrolment.user).assignment.period.number == 2
    else:
        with pytest.raises(NotYet):
            reading.open_next(enrolment=enrolment, actor=enrolment.user)


def test_a_reader_who_has_withdrawn_reads_no_more() -> None:
    enrolment = reader()
    Enrolment.objects.filter(pk=enrolment.pk).update(withdrawn_at=timezone.now())
    with pytest.raises(Refused, match="You have withdrawn from"):
        reading.open_next(enrolment=enrolment, actor=enrolment.user)


@pytest.mark.parametrize("opened", [False, True], ids=["draft", "closed"])
def test_nothing_is_read_in_a_study_that_is_not_open(opened: bool) -> None:
    study = make_study(opened=opened)
    if opened:
        studies.close_study(study=study, actor=None, reason="for a test")
    enrolment = study.enrolments.get()
    with pytest.raises(Refused, match="nothing can be read in it"):
        reading.open_next(enrolment=enrolment, actor=enrolment.user)


def test_where_gaze_is_required_nothing_opens_before_consent() -> None:
    enrolment = reader(gaze="required")
    with pytest.raises(Refused, match="give your consent on the worklist first"):
        reading.open_next(enrolment=enrolment, actor=enrolment.user)
    studies.give_consent(enrolment=enrolment, actor=enrolment.user)
    assert reading.open_next(enrolment=enrolment, actor=enrolment.user).state == "open"


def test_where_gaze_is_optional_a_reader_reads_without_consent() -> None:
    enrolment = reader(gaze="optional")
    assert reading.open_next(enrolment=enrolment, actor=enrolment.user).state == "open"


@pytest.mark.parametrize("act", ["record", "reveal", "lock", "submit"])
def test_nobody_acts_in_another_readers_read(act: str) -> None:
    read = reach("second_read", "open")
    stranger = make_user()
    calls: dict[str, Callable[[], Any]] = {
        "record": lambda: reading.record_events(read=read, events=[], actor=stranger),
        "reveal": lambda: reading.reveal_assistance(read=read, actor=stranger),
        "lock": lambda: reading.lock_initial(read=read, answers=make_answers(read), actor=stranger),
        "submit": lambda: reading.submit(read=read, answers=make_answers(read), actor=stranger),
    }
    with pytest.raises(NotAllowed, match="This read belongs to another reader"):
        calls[act]()


def test_a_submission_is_stored_whole_with_the_servers_time(monkeypatch) -> None:
    told: list[Read] = []
    registries.read_submitted.register(told.append)
    enrolment = reader()
    read = make_read(enrolment, state="open")
    monkeypatch.setattr(timezone, "now", lambda: read.opened_at + timedelta(seconds=41.5))
    answers = make_answers(read, confidence={"Pneumothorax": 5}, last_event=7)
    reading.submit(read=read, answers=answers, actor=enrolment.user)
    read.refresh_from_db()
    assert read.seconds == 41.5
    assert {r.finding: r.confidence for r in read.responses.all()} == {
        answer["finding"]: answer["confidence"] for answer in answers["responses"]
    }
    assert [(m.shape, m.points, m.confidence) for m in read.marks.all()] == [("point", [20.0, 24.0], 4)]
    assert read.transcripts.get().sentences == answers["report"]["sentences"]
    detail = AuditEntry.objects.get(act="read_submitted").detail
    assert (detail["last_event"], detail["events"], detail["seconds"], detail["reader"]) == (7, 0, 41.5, "R01")
    assert [r.pk for r in told] == [read.pk]


def test_nothing_is_written_when_an_answer_is_wrong() -> None:
    read = make_read(reader(), state="open")
    marks = [{"finding": "Pneumothorax", "shape": "point", "points": [999, 0], "confidence": None}]
    with pytest.raises(BadInput, match="The point of Pneumothorax lies outside the image"):
        reading.submit(read=read, answers=make_answers(read, marks=marks), actor=read.assignment.enrolment.user)
    read.refresh_from_db()
    assert read.state == "open" and not Response.objects.exists() and not Transcript.objects.exists()


def test_nothing_is_written_when_a_room_above_fails_on_submission() -> None:
    def fail(read: Read) -> None:
        raise RuntimeError("the queue is gone")

    registries.read_submitted.register(fail)
    read = make_read(reader(), state="open")
    with pytest.raises(RuntimeError):
        reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
    read.refresh_from_db()
    assert read.state == "open" and not Response.objects.exists()


def test_initial_answers_are_kept_beside_the_final_ones() -> None:
    read = reach("second_read", "open")
    user = read.assignment.enrolment.user
    reading.lock_initial(read=read, answers=make_answers(read, confidence=2), actor=user)
    reading.reveal_assistance(read=read, actor=user)
    reading.submit(read=read, answers=make_answers(read, confidence=4), actor=user)
    for stage, confidence in (("initial", 2), ("final", 4)):
        assert set(read.responses.filter(stage=stage).values_list("confidence", flat=True)) == {confidence}
    read.refresh_from_db()
    assert read.opened_at <= read.initial_locked_at <= read.revealed_at <= read.submitted_at


def test_a_reveal_is_recorded_and_audited_once_however_often_it_is_asked_for() -> None:
    read = reach("concurrent", "open")
    user = read.assignment.enrolment.user
    first = reading.reveal_assistance(read=read, actor=user)
    assert reading.reveal_assistance(read=read, actor=user) == first
    assert AssistanceReveal.objects.filter(read=read).count() == 1
    assert AuditEntry.objects.filter(act="assistance_revealed", subject=f"Read {read.pk}").count() == 1
    assert first.image.case_id == read.assignment.case_id


def test_in_a_whole_crossover_only_assisted_reads_have_a_reveal() -> None:
    reads = finish_reading(reader("comparison", cases=4))
    assert len(reads) == 8
    for read in reads:
        assert AssistanceReveal.objects.filter(read=read).exists() == (read.assignment.arm.assistance != "none")


def event(seq: int, **changes: Any) -> dict[str, Any]:
    return {"seq": seq, "kind": "zoom", "t": 10.0 * seq, "payload": {"scale": 2}} | changes


@pytest.mark.parametrize("first", [0, 1])
def test_events_sent_twice_are_stored_once(first: int) -> None:
    read = make_read(reader(), state="open")
    user = read.assignment.enrolment.user
    events = [event(first + i) for i in range(4)]
    assert reading.record_events(read=read, events=events[:3], actor=user) == first + 3
    assert reading.record_events(read=read, events=events[1:], actor=user) == first + 4
    assert reading.record_events(read=read, events=[], actor=user) == first + 4
    assert list(read.events.values_list("sequence", flat=True)) == [first + i for i in range(4)]


def test_events_after_a_gap_are_not_taken_until_the_gap_is_filled() -> None:
    read = make_read(reader(), state="open")
    user = read.assignment.enrolment.user
    assert reading.record_events(read=read, events=[event(0), event(2)], actor=user) == 1
    assert reading.record_events(read=read, events=[event(5)], actor=user) == 1
    assert reading.record_events(read=read, events=[event(1), event(2)], actor=user) == 3


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ("x", "The events have to be a list of at most 2000."),
        ([3], "An event is not an object with seq, kind, t and payload."),
        ([event(-1)], "An event's seq is not a whole number from 0."),
        ([event(0, kind="")], "The kind of event 0 is not a text of 1 to 40 characters."),
        ([event(0, t="late")], "The time t of event 0 is not a number."),
        ([event(0, t=float("nan"))], "The time t of event 0 is not a number."),
        ([event(0), event(1, payload=[])], "The payload of event 1 is not an object of at most 10000 characters."),
        (
            [event(0, payload={"x": "y" * 10_001})],
            "The payload of event 0 is not an object of at most 10000 characters.",
        ),
    ],
)
def test_a_list_with_a_bad_event_is_refused_whole(events: Any, sentence: str) -> None:
    read = make_read(reader(), state="open")
    with pytest.raises(BadInput) as refusal:
        reading.record_events(read=read, events=events, actor=read.assignment.enrolment.user)
    assert refusal.value.sentence == sentence and not read.events.exists()


def test_a_read_is_not_invalidated_without_a_reason() -> None:
    read = make_read(reader(), state="open")
    with pytest.raises(BadInput, match="Say in at most 500 characters why the read is invalid"):
        reading.invalidate(read=read, actor=None, reason="  ")


@pytest.fixture
def at_once(tmp_path: Path) -> Callable[..., list[Any]]:
    """Run acts at the same time, each in a thread with its own connection to a copy of the database on disk."""
    if connection.vendor != "sqlite":
        pytest.skip("copies an SQLite database")

    def run(*acts: Callable[[], Any]) -> list[Any]:
        path = tmp_path / "copy.sqlite3"
        # What the test has made is only visible to its own connection until it is copied.
        with sqlite3.connect(path) as target:
            for line in connection.connection.iterdump():
                target.execute(line)
        barrier, outcomes = threading.Barrier(len(acts)), [None] * len(acts)

        def work(i: int) -> None:
            mine = connections["default"]
            mine.settings_dict = {**mine.settings_dict, "NAME": str(path)}
            try:
                mine.ensure_connection()
                barrier.wait()
                outcomes[i] = acts[i]()
            except Exception as error:
                outcomes[i] = error
            finally:
                mine.close()

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(acts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with sqlite3.connect(path) as database:
            run.count = lambda table: database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # type: ignore[attr-defined]
        return outcomes

    return run


def test_of_simultaneous_submissions_one_wins_and_the_others_are_told(at_once) -> None:
    enrolment = reader()
    read = make_read(enrolment, state="open")
    answers, user = make_answers(read), enrolment.user
    outcomes = at_once(*[lambda: reading.submit(read=read, answers=answers, actor=user)] * 4)
    won = [outcome for outcome in outcomes if isinstance(outcome, Read)]
    told = [outcome.sentence for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(won) == 1 and told == ["This read is submitted already; go back to the worklist."] * 3
    assert at_once.count("study_response") == 5 and at_once.count("study_transcript") == 1


def test_of_simultaneous_openings_all_get_the_same_read(at_once) -> None:
    enrolment = reader()
    user = enrolment.user
    outcomes = at_once(*[lambda: reading.open_next(enrolment=enrolment, actor=user)] * 4)
    assert len({outcome.pk for outcome in outcomes}) == 1
    assert at_once.count("study_read") == 1


def test_two_requests_that_both_saw_the_read_open_cannot_both_submit_it() -> None:
    read = make_read(reader(), state="open")
    stale = Read.objects.get(pk=read.pk)
    user = read.assignment.enrolment.user
    reading.submit(read=read, answers=make_answers(read), actor=user)
    assert stale.state == "open"
    with pytest.raises(Refused, match="This read is submitted already"):
        reading.submit(read=stale, answers=make_answers(read), actor=user)
