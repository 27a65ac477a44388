"""Looking at recordings: the list, and one replayed over its image."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from capture.frames import GAZE
from capture.gaze.formats.table import FORMATS
from capture.models import Gap, Recording
from capture.queries.calibrations import drift_around
from capture.queries.measures import studies_measured_for
from capture.queries.recordings import answers_shown, image_of_recording, recordings_exported_to, recordings_visible_to
from capture.services.replay import gap_origin, heard, remarks, replay, shows_answers, stream_name
from study.models import Study
from study.queries.studies import STAFF, studies_visible_to
from study.services.errors import Refused
from study.views.frames import frame_response
from study.views.support import endpoint, page

from . import measures

PAGE = 50


@page
@never_cache
@require_safe
def recording_list(request: HttpRequest) -> HttpResponse:
    """The recordings this person may look at, newest first, of one study if it is named."""
    visible = recordings_visible_to(request.user)
    slug = request.GET.get("study", "")
    of_visible = Q(enrolments__assignments__read__recording__in=visible) | Q(imported_gaze__recording__in=visible)
    staffed = studies_visible_to(request.user, *STAFF)
    # Staff find their study before it has a recording: that is when they bring some.
    studies = Study.objects.filter(of_visible | Q(pk__in=staffed)).distinct()
    chosen = studies.filter(slug=slug).first() if slug else None
    if slug:
        visible = visible.filter(Q(read__assignment__enrolment__study__slug=slug) | Q(imported__study__slug=slug))
    rows = Paginator(visible.prefetch_related("tracks", "gaps"), PAGE).get_page(request.GET.get("page"))
    for recording in rows:
        recording.latest = next(iter(recording.tracks.all()), None)
        recording.badge = BADGES[recording.state]
        recording.reasons = recording.failure
    may_move = chosen is not None and staffed.contains(chosen)
    context = {
        "rows": rows,
        "studies": studies,
        "chosen": chosen,
        "slug": slug,
        "may_move": may_move,
        "exportable": recordings_exported_to(request.user, chosen).count() if may_move and chosen else 0,
        "answers": chosen is not None and answers_shown(chosen),
        "measured": chosen is not None and studies_measured_for(request.user).contains(chosen),
        "formats": list(FORMATS.values()),
    }
    return render(request, "capture/recordings.html", context)


BADGES = {
    Recording.State.WAITING: ("muted", "waiting for the tracker"),
    Recording.State.RECORDING: ("warn", "recording"),
    Recording.State.SEALED: ("warn", "complete, being processed"),
    Recording.State.PROCESSED: ("ok", "ready"),
    Recording.State.FAILED: ("bad", "no track"),
}


@page
@never_cache
@require_safe
def recording_page(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """One recording: the replay, and how good it is."""
    recording = get_object_or_404(recordings_visible_to(request.user), pk=recording_id)
    track = recording.tracks.first()
    image = image_of_recording(recording)
    config = {
        "frameUrl": reverse("capture:frame", args=[recording.pk]),
        **image.for_viewer(),
        "trackUrl": reverse("capture:track", args=[recording.pk]),
    }
    gaps = list(recording.gaps.all())
    origin = gap_origin(track) if track else None
    for gap in gaps:
        gap.at = None if origin is None else gap.t0 - origin
        gap.of = "" if gap.stream == GAZE else stream_name(recording, gap.stream)
    segments = list(recording.segments.all())
    for segment in segments:
        segment.name = stream_name(recording, segment.stream)
    context = {
        "recording": recording,
        "badge": BADGES[recording.state],
        "track": track,
        "config": config if track else None,
        "loss": 100 * track.data_loss if track else None,
        "duration": _duration(track),
        "gaps": gaps,
        "remarks": remarks(track) if track else [],
        "missing": sum(g.missing or 0 for g in gaps if g.kind == Gap.Kind.SAMPLES and g.stream == GAZE),
        "heard": heard(recording),
        "drift": drift_around(recording),
        "segments": segments,
        "answers": shows_answers(recording, request.user),
        "measured": measures.of_recording(recording, request.user),
    }
    return render(request, "capture/recording.html", context)


def _duration(track: Any) -> float | None:
    """From the first sample to the last, seconds; without the gaps in a track that does not tell it."""
    told = track.quality if track else {}
    rate = told.get("rate_hz")
    known: float | None = told.get("duration_s", track.samples / rate if rate else None)
    return known


@endpoint
@never_cache
@require_safe
def track_json(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """The latest track as the replay reads it."""
    recording = get_object_or_404(recordings_visible_to(request.user), pk=recording_id)
    track = recording.tracks.first()
    if track is None:
        raise Refused("This recording has not been processed yet; look again in a minute.")
    try:
        return JsonResponse(replay(track, answers=shows_answers(recording, request.user)))
    except ValueError as error:
        raise Refused(str(error)) from error


@endpoint
@require_safe
def frame(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """The stored frame of the recording's image, for those who may look at the recording."""
    recording = get_object_or_404(recordings_visible_to(request.user), pk=recording_id)
    # Permission may end, so the browser asks each time; an unchanged frame costs it no bytes.
    return frame_response(request, image_of_recording(recording), cache_control="private, no-cache")
