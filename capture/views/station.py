"""The station check: tracker, display, calibration and validation."""

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

from capture.gaze.calibration import CALIBRATION_POINTS, VALIDATION_POINTS
from capture.models import Calibration
from capture.queries.calibrations import VALIDITY, latest_passed, thresholds
from capture.queries.stations import station_of
from capture.services.calibrations import calibrate
from study.models import Enrolment
from study.queries.studies import enrolments_of, protocol_of
from study.services.errors import BadInput
from study.views.support import endpoint, json_body, page


@page
@never_cache
@require_safe
def station(request: HttpRequest) -> HttpResponse:
    """The page that calibrates. `next` is where to go afterwards, `enrolment` whose study sets the thresholds."""
    enrolment = _enrolment(request, request.GET.get("enrolment"))
    accuracy, loss = thresholds(protocol_of(enrolment.study).body if enrolment else None)
    here = station_of(request.session)
    config = {
        "agent": settings.GAZEROOM_AGENT_URL,
        "enter": reverse("capture:enter"),
        "station": str(here.uuid) if here else None,
        "post": reverse("capture:calibrations"),
        "csrfToken": get_token(request),
        "enrolment": enrolment.pk if enrolment else None,
        "calibration": CALIBRATION_POINTS,
        "validation": VALIDATION_POINTS,
        "maxAccuracy": accuracy,
        "maxLoss": loss,
    }
    context = {
        "config": config,
        "enrolment": enrolment,
        "max_accuracy": accuracy,
        "max_loss": 100 * loss,
        "latest": latest_passed(request.user, here),
        "here": here,
        "hours": int(VALIDITY.total_seconds() // 3600),
        "next": _local(request.GET.get("next", "")),
    }
    return render(request, "capture/station.html", context)


@endpoint
@require_POST
def calibrations(request: HttpRequest) -> HttpResponse:
    """Judge what was measured: 200 with passed and a sentence; 400 when it is not a measurement."""
    body = json_body(request)
    try:
        enrolment = _enrolment(request, body.get("enrolment"))
    except Http404 as error:
        raise BadInput("You are not a reader under this enrolment.") from error
    here = station_of(request.session)
    if here is None:
        raise BadInput("It is not known which station this is: load the page again.")
    result = calibrate(user=request.user, station=here, enrolment=enrolment, measured=body)
    return JsonResponse(as_json(result))


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
