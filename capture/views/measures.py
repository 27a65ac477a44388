"""Gaze measures: a study's as a file, one recording's as a part of its page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from capture.models import GazeMeasures, Recording
from capture.queries.measures import recordings_measured_for, recordings_measured_in, studies_measured_for
from capture.services import measuring
from study.models import User
from study.queries.studies import STAFF, studies_visible_to
from study.views.support import page


@page
@never_cache
@require_safe
def download(request: HttpRequest, slug: str) -> HttpResponse:
    """The gaze measures of a study as CSV, for its coordinators and researchers."""
    study = get_object_or_404(studies_visible_to(request.user, *STAFF), slug=slug)
    allowed = recordings_measured_for(request.user).values("pk")
    recordings = recordings_measured_in(study).filter(pk__in=allowed)
    text = measuring.export(study=study, recordings=recordings, actor=request.user)
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{study.slug}-gaze-measures.csv"'
    return response


def of_recording(recording: Recording, user: User) -> dict[str, Any]:
    """What the recording's page says of its measures: nothing to readers, that they are hidden while it is blind."""
    if not recordings_measured_for(user).contains(recording):
        staff = studies_visible_to(user, *STAFF).contains(recording.study)
        return {"hidden": staff and not studies_measured_for(user).contains(recording.study)}
    track = recording.tracks.first()
    if track is None:
        return {}
    measures = track.measures.first()
    if measures is None:
        measuring.wake([track])
        return {"waiting": True}
    return _shown(measures)


def _shown(measures: GazeMeasures) -> dict[str, Any]:
    body = measures.body
    read = body["read"]
    return {
        "measures": measures,
        "quality": body["quality"],
        "read": read,
        "coverage": [(field, _percent(share)) for field, share in read["coverage"].items()],
        "transition": _percent(read["transition_entropy"]),
        "stationary": _percent(read["stationary_entropy"]),
        "findings": read["findings"],
        "missed": [found for found in read["findings"] if found["reported"] is False],
        "assistance": read["assistance"],
        "reference": body["reference"],
        "parameters": measures.inputs["parameters"],
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
