"""The reading room's page and the endpoints its script speaks to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from study import registries
from study.models import Arm, Read
from study.queries.reading import (
    FINAL,
    current_read_of,
    image_of,
    images_served_for,
    next_in_arm,
    reads_of,
    shown_image,
)
from study.services import reading
from study.services.assistance import caveats_of
from study.services.errors import Refused

from .frames import frame_response
from .support import endpoint, json_body, page

FRAME_SECONDS = 3600


@page
@never_cache
@require_safe
def read_page(request: HttpRequest, read_id: UUID) -> HttpResponse:
    """The reading room, for the reader's current read only."""
    read = get_object_or_404(reads_of(request.user), pk=read_id)
    worklist = reverse("study:worklist")
    if read.state in FINAL:
        raise Refused("This read is finished and cannot be opened again.", url=worklist)
    current = current_read_of(read.assignment.enrolment)
    if current is None or current.pk != read.pk:
        raise Refused("This is not the case you are reading now.", url=worklist)
    reading.refuse_unless_reading(read.assignment.enrolment, request.user)
    return render(request, "study/reading_room.html", {"read": read, "config": read_config(read, request)})


def read_config(read: Read, request: HttpRequest) -> dict[str, Any]:
    """What the page is told: this image, where its answers go, and nothing of arms, order or truth to come."""
    assignment = read.assignment
    protocol = assignment.period.protocol
    image = image_of(read)
    following = next_in_arm(read)
    alone = assignment.arm.assistance == Arm.Assistance.NONE
    ahead = shown_image(following.case) if following else None
    last = read.events.order_by("-sequence").values_list("sequence", flat=True).first()
    return {
        "readId": str(read.pk),
        "studyName": assignment.enrolment.study.name,
        "position": {
            "index": assignment.position,
            "total": protocol.study_cases.count(),
            "period": assignment.period.number,
        },
        "assistance": assignment.arm.assistance,
        "assistanceCaveats": [] if alone else caveats_of(protocol.body["model_sha256"]),
        "state": read.state,
        "nextEvent": 0 if last is None else last + 1,
        "image": {
            "id": str(image.pk),
            "frameUrl": reverse("study:frame", args=[read.pk, image.pk]),
            **image.for_viewer(),
        },
        "next": {"frameUrl": reverse("study:frame", args=[read.pk, ahead.pk])} if ahead else None,
        "findings": protocol.body["findings"],
        "urls": {
            "assistance": reverse("study:assistance", args=[read.pk]),
            "events": reverse("study:events", args=[read.pk]),
            "submit": reverse("study:submit", args=[read.pk]),
            "lock": reverse("study:lock", args=[read.pk]),
            "worklist": reverse("study:worklist"),
        },
        "csrfToken": get_token(request),
        "capture": _capture(read, request),
    }


def _capture(read: Read, request: HttpRequest) -> dict[str, Any] | None:
    merged: dict[str, Any] = {}
    for describe in registries.reading_room_capture:
        merged.update(describe(read, request) or {})
    return merged or None


@endpoint
@require_safe
def frame(request: HttpRequest, read_id: UUID, image_id: UUID) -> HttpResponse:
    """The stored frame, of the current read's image or the next one's of the same arm."""
    read = get_object_or_404(reads_of(request.user), pk=read_id)
    image = get_object_or_404(images_served_for(read).select_related("case"), pk=image_id)
    return frame_response(request, image, cache_control=f"private, max-age={FRAME_SECONDS}")


@endpoint
@never_cache
@require_safe
def assistance(request: HttpRequest, read_id: UUID) -> HttpResponse:
    """The stored evidence, where the state machine allows it to leave the server."""
    read = _own(request, read_id)
    if request.method == "HEAD":
        raise Http404
    return JsonResponse(reading.reveal_assistance(read=read, actor=request.user).evidence)


@endpoint
@require_POST
def events(request: HttpRequest, read_id: UUID) -> HttpResponse:
    read = _own(request, read_id)
    following = reading.record_events(read=read, events=json_body(request).get("events"), actor=request.user)
    return JsonResponse({"next": following})


@endpoint
@require_POST
def lock(request: HttpRequest, read_id: UUID) -> HttpResponse:
    """Lock the initial answers; the assistance may be asked for afterwards."""
    read = reading.lock_initial(read=_own(request, read_id), answers=json_body(request), actor=request.user)
    return JsonResponse({"state": read.state})


@endpoint
@require_POST
def submit(request: HttpRequest, read_id: UUID) -> HttpResponse:
    read = reading.submit(read=_own(request, read_id), answers=json_body(request), actor=request.user)
    study = read.assignment.enrolment.study
    messages.success(request, f"Case {read.assignment.position} of {study} is submitted.")
    return JsonResponse({"next": f"{reverse('study:worklist')}?study={study.slug}"})


def _own(request: HttpRequest, read_id: UUID) -> Read:
    return get_object_or_404(reads_of(request.user), pk=read_id)
