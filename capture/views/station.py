"""The station check (tracker, display, calibration and validation) and the drift check between cases."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from capture.gaze.calibration import CALIBRATION_POINTS, DRIFT_POINT, VALIDATION_POINTS
from capture.models import Calibration, Station
from capture.queries.calibrations import VALIDITY, latest_passed
from capture.queries.stations import station_of
from capture.services import recordings
from capture.services.calibrations import bad_points, calibrate
from capture.services.drift import check_drift
from study.models import Enrolment
from study.queries.studies import enrolments_of, protocol_of
from study.services.errors import BadInput, NotAllowed
from study.services.protocol_body import calibration_rules
from study.views.support import endpoint, json_body, page


@page
@never_cache
@require_safe
def station(request: HttpRequest) -> HttpResponse:
    """The page that calibrates. `next` is where to go afterwards, `enrolment` whose study sets the thresholds."""
    enrolment = _enrolment(request, request.GET.get("enrolment"))
    rules = calibration_rules(protocol_of(enrolment.study).body if enrolment else None)
    here = station_of(request.session)
    config = {
        **_config(request, enrolment, here),
        "mode": "calibration",
        "post": reverse("capture:calibrations"),
        "calibration": CALIBRATION_POINTS[rules.points],
        "validation": VALIDATION_POINTS,
    }
    context = {
        "config": config,
        "enrolment": enrolment,
        "rules": rules,
        "max_loss": 100 * rules.max_data_loss,
        "points": rules.points + len(VALIDATION_POINTS),
        "latest": latest_passed(request.user, here),
        "here": here,
        "hours": int(VALIDITY.total_seconds() // 3600),
        "next": _local(request.GET.get("next", "")),
    }
    return render(request, "capture/station.html", context)


@page
@never_cache
@require_safe
def drift(request: HttpRequest) -> HttpResponse:
    """The page of one point, looked at before a case opens."""
    enrolment = _enrolment(request, request.GET.get("enrolment"))
    if enrolment is None:
        raise Http404
    here = station_of(request.session)
    config = {
        **_config(request, enrolment, here),
        "mode": "drift",
        "post": reverse("capture:drift_checks"),
        "point": DRIFT_POINT,
    }
    rules = calibration_rules(protocol_of(enrolment.study).body)
    context = {"config": config, "enrolment": enrolment, "rules": rules, "again": recordings.check_url(enrolment)}
    return render(request, "capture/drift.html", context)


def _config(request: HttpRequest, enrolment: Enrolment | None, here: Station | None) -> dict[str, Any]:
    return {
        "agent": settings.GAZEROOM_AGENT_URL,
        "enter": reverse("capture:enter"),
        "station": str(here.uuid) if here else None,
        "csrfToken": get_token(request),
        "enrolment": enrolment.pk if enrolment else None,
    }


@endpoint
@require_POST
def calibrations(request: HttpRequest) -> HttpResponse:
    """Judge what was measured: 200 with passed and a sentence; 400 when it is not a measurement."""
    body = json_body(request)
    enrolment, here = _who_and_where(request, body)
    return JsonResponse(as_json(calibrate(user=request.user, station=here, enrolment=enrolment, measured=body)))


@endpoint
@require_POST
def drift_checks(request: HttpRequest) -> HttpResponse:
    """Judge one target: 200 with passed and a sentence; 400 when it is not a measurement, 409 without a calibration."""
    body = json_body(request)
    enrolment, here = _who_and_where(request, body)
    if enrolment is None:
        raise BadInput("A drift check needs the enrolment whose next case it is made before.")
    check = check_drift(user=request.user, station=here, enrolment=enrolment, measured=body)
    return JsonResponse(
        {
            "id": str(check.pk),
            "passed": check.passed,
            "sentence": check.sentence,
            "driftDeg": check.drift_deg,
            "maxDriftDeg": check.max_drift_deg,
        }
    )


def _who_and_where(request: HttpRequest, body: dict[str, Any]) -> tuple[Enrolment | None, Station]:
    try:
        enrolment = _enrolment(request, body.get("enrolment"))
    except Http404 as error:
        raise NotAllowed("You are not a reader under this enrolment.") from error
    here = station_of(request.session)
    if here is None:
        raise BadInput("It is not known which station this is: load the page again.")
    return enrolment, here


def as_json(calibration: Calibration) -> dict[str, Any]:
    return {
        "id": str(calibration.pk),
        "passed": calibration.passed,
        "sentence": calibration.sentence,
        "accuracyDeg": calibration.accuracy_deg,
        "precisionRmsDeg": calibration.precision_rms_deg,
        "precisionSdDeg": calibration.precision_sd_deg,
        "dataLoss": calibration.data_loss,
        "maxAccuracyDeg": calibration.max_accuracy_deg,
        "maxDataLoss": calibration.max_data_loss,
        "display": calibration.display,
        "points": calibration.points,
        "bad": bad_points(calibration),
    }


def _enrolment(request: HttpRequest, value: Any) -> Enrolment | None:
    if value in (None, ""):
        return None
    if not str(value).isdecimal():
        raise Http404
    return get_object_or_404(enrolments_of(request.user), pk=int(value))


def _local(url: str) -> str:
    """The url if it is one of this site's paths, else the front page: a link must not lead a reader elsewhere."""
    safe = url.startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)
    return url if safe else "/"
