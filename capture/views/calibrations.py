"""How good a study's calibrations are: the page, and its tables."""

from __future__ import annotations

import csv

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from capture.queries import cells
from capture.queries.calibrations import has_calibration_page
from capture.services.calibration_report import ENLARGED, TABLES, report
from capture.services.calibration_report import table as rows_of
from study.models import Study
from study.queries.studies import STAFF, protocol_of, studies_visible_to
from study.services.protocol_body import calibration_rules
from study.views.support import page


@page
@never_cache
@require_safe
def quality(request: HttpRequest, slug: str) -> HttpResponse:
    """Each reader and session: accuracy, precision, data loss and drift. A reader sees their own."""
    study = _study(request, slug)
    context = {
        "study": study,
        "staff": studies_visible_to(request.user, *STAFF).contains(study),
        "report": report(study, request.user),
        "rules": str(calibration_rules(protocol_of(study).body)),
        "enlarged": ENLARGED,
        "tables": TABLES,
    }
    return render(request, "capture/calibrations.html", context)


@page
@never_cache
@require_safe
def table(request: HttpRequest, slug: str, what: str) -> HttpResponse:
    """One of the tables behind the page as CSV; it holds what the page holds."""
    study = _study(request, slug)
    if what not in TABLES:
        raise Http404
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{study.slug}-{what}.csv"'
    csv.writer(response).writerows([cells.plain(value) for value in row] for row in rows_of(study, request.user, what))
    return response


def _study(request: HttpRequest, slug: str) -> Study:
    study = get_object_or_404(Study, slug=slug)
    if not has_calibration_page(request.user, study):
        raise Http404
    return study
