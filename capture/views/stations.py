"""Stations: the page they are managed on, what their agents ask, and how a page comes to its own station."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from capture.models import Recording, Station
from capture.queries.recordings import recordings_written_by
from capture.queries.stations import SESSION_KEY, may_manage_stations, stations_managed_by
from capture.services import recordings, stations
from study.services.errors import BadInput, NotAllowed, Refused
from study.views.support import endpoint, json_body, page

#: An agent speaks once a minute; one that missed two is away.
SEEN_SECONDS = 150

# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@page
@never_cache
@require_safe
def station_list(request: HttpRequest) -> HttpResponse:
    """The site's stations, for coordinators and staff."""
    _refuse_unless_managing(request)
    return render(request, "capture/stations.html", {"rows": _rows(request)})


@page
@never_cache
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """A new station, and its first code."""
    _refuse_unless_managing(request)
    name = request.POST.get("name", "")
    try:
        station = stations.add_station(name=name, actor=request.user)
    except NotAllowed:
        raise
    except Refused as refusal:
        context = {"rows": _rows(request), "refusal": refusal, "name": name}
        return render(request, "capture/stations.html", context, status=refusal.status)
    return _show_code(request, station)


@page
@never_cache
@require_POST
def code(request: HttpRequest, number: UUID) -> HttpResponse:
    """Another code for a station: to pair it first, again, or as another computer. It is shown on this answer only."""
    return _show_code(request, _managed(request, number))


@page
@never_cache
@require_POST
def revoke(request: HttpRequest, number: UUID) -> HttpResponse:
    station = _managed(request, number)
    stations.revoke(station=station, actor=request.user)
    messages.success(request, f"{station} is revoked: its agent and its pages are refused until it is paired again.")
    return redirect("capture:stations")


def _show_code(request: HttpRequest, station: Station) -> HttpResponse:
    context = {
        "rows": _rows(request),
        "code": stations.make_code(station=station, actor=request.user),
        "code_station": station,
        "minutes": int(stations.CODE_LIFE.total_seconds() // 60),
        "server": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "capture/stations.html", context)


def _managed(request: HttpRequest, number: UUID) -> Station:
    _refuse_unless_managing(request)
    return get_object_or_404(stations_managed_by(request.user), uuid=number)


def _refuse_unless_managing(request: HttpRequest) -> None:
    if not may_manage_stations(request.user):
        raise NotAllowed("Stations are managed by coordinators and the site's staff: ask one of them.")


def _rows(request: HttpRequest) -> list[dict[str, Any]]:
    """Each station as the page shows it."""
    rows = []
    for station in stations_managed_by(request.user):
        last = next(iter(station.pairings.all()), None)
        revocation = getattr(last, "revocation", None)
        newest = max(station.codes.all(), key=lambda c: c.pk, default=None)
        waiting = newest is not None and not hasattr(newest, "pairing") and newest.expires_at > timezone.now()
        seen = station.last_seen_at
        here = seen is not None and (timezone.now() - seen).total_seconds() < SEEN_SECONDS
        if revocation is not None:
            badge = ("bad", "revoked")
        elif last is None:
            badge = ("muted", "not paired yet")
        else:
            badge = ("ok", "online") if here else ("warn", "away")
        rows.append(
            {
                "station": station,
                "badge": badge,
                "pairing": last,
                "paired_by": last.code.made_by if last else None,
                "revocation": revocation,
                "waiting": waiting,
                "holds": last is not None and revocation is None,
                "size": _size(station.display),
            }
        )
    return rows


def _size(display: dict[str, Any]) -> str:
    try:
        return f"{display['width_px']:.0f} × {display['height_px']:.0f} px"
    except (KeyError, TypeError, ValueError):
        return ""


# ── a page that sits at a station ─────────────────────────────────────────────────────────────────────────────────────


@endpoint
@never_cache
@require_POST
def enter(request: HttpRequest) -> HttpResponse:
    """`{"station", "recording"?}` → the key of the agent the page has found, and a token if it records a read.

    The session keeps the station: until its browser finds another one, calibrations are made and looked for there.
    """
    body = json_body(request)
    station = stations.enter(user=request.user, number=body.get("station"))
    if request.session.get(SESSION_KEY) != str(station.uuid):
        request.session[SESSION_KEY] = str(station.uuid)
    answer: dict[str, Any] = {"station": str(station.uuid), "name": station.name, "key": station.agent_key}
    if body.get("recording") is not None:
        recording = _own_recording(request, body["recording"])
        assert recording.read is not None
        recording, token = recordings.open_at(read=recording.read, station=station)
        held = recording.calibration
        answer |= {"token": token, "display": held.display if held else None}
    return JsonResponse(answer)


def _own_recording(request: HttpRequest, number: Any) -> Recording:
    try:
        return get_object_or_404(recordings_written_by(request.user), pk=UUID(str(number)))
    except ValueError as error:
        raise BadInput("recording is not the number of one.") from error
    except Http404 as error:
        raise NotAllowed("There is no such recording, it is not yours, or you have not consented to it.") from error


# ── what agents ask ───────────────────────────────────────────────────────────────────────────────────────────────────


def agent_endpoint(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For agents: no session and no cookie, so nothing to forge; refusals are {"error": sentence}."""

    @csrf_exempt
    @never_cache
    @require_POST
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return JsonResponse({"error": refusal.sentence}, status=refusal.status)

    return wrapped


@agent_endpoint
def pair(request: HttpRequest) -> HttpResponse:
    """`{"code", "key", "version", "host"}` → 201 `{"station", "name", "credential"}`."""
    body = json_body(request)
    texts = {name: body.get(name, "") for name in ("code", "key", "version", "host")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise BadInput("An agent pairs with a code and its key, both text.")
    paired = stations.pair(
        code=texts["code"], agent_key=texts["key"], agent_version=texts["version"], host=texts["host"]
    )
    answer = {"station": str(paired.station.uuid), "name": paired.station.name, "credential": paired.credential}
    return JsonResponse(answer, status=201)


@agent_endpoint
def seen(request: HttpRequest) -> HttpResponse:
    """The agent says once a minute that it is there, and what tracker and display it has; it hears its name."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    station = stations.identify(credential=credential.strip() if scheme.lower() == "bearer" else "")
    body = json_body(request)
    stations.note_seen(
        station=station,
        agent_version=str(body.get("version") or ""),
        display=body.get("display"),
        tracker=body.get("tracker"),
    )
    return JsonResponse({"station": str(station.uuid), "name": station.name})
