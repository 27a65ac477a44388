"""What a reader finds after signing in: their studies, and the next read of each. The server decides the case."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from study import registries
from study.models import Enrolment, Study
from study.queries.reading import current_read_of, next_assignment_of, opens_at
from study.queries.studies import enrolments_of, protocol_of, with_progress
from study.services import reading, studies

from .support import page


@dataclass(frozen=True)
class Entry:
    """One study on the worklist."""

    enrolment: Enrolment
    finished: int
    total: int
    sentence: str
    button: str | None
    gaze: str
    period: str | None = None
    open: bool = False
    offers: tuple[tuple[str, str], ...] = ()

    @property
    def asks_consent(self) -> bool:
        return self.button is not None and self.gaze != "none" and self.enrolment.consented_at is None


@page
@never_cache
@require_safe
def worklist(request: HttpRequest) -> HttpResponse:
    enrolments = with_progress(enrolments_of(request.user)).order_by("study__name")
    entries = [_with_offers(_entry(enrolment), request) for enrolment in enrolments]
    just_read = request.GET.get("study")
    focus = next((e.enrolment.pk for e in entries if e.button and e.enrolment.study.slug == just_read), None)
    if focus is None and not just_read:
        focus = next((e.enrolment.pk for e in entries if e.button and not e.asks_consent), None)
    context = {
        "entries": entries,
        "ready": [entry for entry in entries if entry.button],
        "waiting": [entry for entry in entries if not entry.button],
        "focus": focus,
    }
    return render(request, "study/worklist.html", context)


def _entry(enrolment: Enrolment) -> Entry:
    study = enrolment.study
    gaze = protocol_of(study).body["gaze"]
    finished, total = enrolment.submitted + enrolment.invalidated, enrolment.total
    if study.state == Study.State.DRAFT:
        return Entry(enrolment, 0, 0, "This study has not opened yet.", None, gaze)
    if study.state != Study.State.OPEN:
        return Entry(enrolment, finished, total, "This study is closed. Thank you for reading.", None, gaze)
    current = current_read_of(enrolment)
    assignment = current.assignment if current else next_assignment_of(enrolment)
    if assignment is None:
        return Entry(enrolment, finished, total, "You have read every case. Thank you.", None, gaze)
    periods = assignment.period.protocol.periods.count()
    period = f"Period {assignment.period.number} of {periods}" if periods > 1 else None
    if current:
        sentence = f"Case {finished + 1} of {total} is open."
        return Entry(enrolment, finished, total, sentence, "Continue reading", gaze, period, open=True)
    moment = opens_at(assignment)
    if moment is not None and timezone.now() < moment:
        wait = f"{assignment.period} opens on {moment:%-d %B %Y at %H:%M} UTC."
        return Entry(enrolment, finished, total, wait, None, gaze, period)
    return Entry(enrolment, finished, total, f"Next is case {finished + 1} of {total}.", "Read next case", gaze, period)


def _with_offers(entry: Entry, request: HttpRequest) -> Entry:
    if entry.button is None or entry.asks_consent:
        return entry
    return replace(entry, offers=tuple(o for f in registries.worklist_offers for o in f(entry.enrolment, request)))


@page
@require_POST
def next_read(request: HttpRequest, enrolment_id: int) -> HttpResponse:
    """Open the next case, unless the reader has to do something first: calibrate the tracker, say."""
    enrolment = get_object_or_404(enrolments_of(request.user), pk=enrolment_id)
    reading.refuse_unless_reading(enrolment, request.user)
    if current_read_of(enrolment) is None:
        assignment = next_assignment_of(enrolment)
        if assignment is not None:
            reading.refuse_before_opening(assignment)
            for ask in registries.before_case_opens:
                refusal = ask(assignment, request)
                if refusal is not None:
                    messages.warning(request, refusal.sentence)
                    return redirect(refusal.url or "study:worklist")
    return redirect("study:read", reading.open_next(enrolment=enrolment, actor=request.user).pk)


@page
@require_POST
def consent(request: HttpRequest, enrolment_id: int) -> HttpResponse:
    enrolment = get_object_or_404(enrolments_of(request.user), pk=enrolment_id)
    studies.give_consent(enrolment=enrolment, actor=request.user)
    messages.success(request, f"Your gaze will be recorded while you read {enrolment.study}.")
    return redirect("study:worklist")
