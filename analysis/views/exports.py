from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from analysis.models import AnalysisResult
from analysis.queries.readings import endpoint_readings, readings, readings_sha256, to_csv
from analysis.queries.results import results_visible_to
from analysis.services.bundle import result_json
from analysis.services.exporting import check_no_truth_for_readers, note_export
from analysis.services.reporting import endpoint_named, readable
from study.services.errors import Refused


def _result(request: HttpRequest, slug: str, result_id: str) -> AnalysisResult:
    return get_object_or_404(results_visible_to(request.user).select_related("study"), pk=result_id, study__slug=slug)


@require_safe
@login_required
def ratings(request: HttpRequest, slug: str, result_id: str) -> HttpResponse:
    """The readings behind a result: `?endpoint=` one row per read, or `?endpoint=all` one row per read and finding."""
    result = _result(request, slug, result_id)
    try:
        check_no_truth_for_readers(result=result, actor=request.user)
    except Refused as refused:
        return HttpResponse(refused.sentence, status=409, content_type="text/plain; charset=utf-8")
    frame = readings(result.study)
    if readings_sha256(frame) != result.inputs_sha256:
        return HttpResponse(
            "The study's readings have changed since this result was made; run the analysis again and export that one.",
            status=409,
            content_type="text/plain; charset=utf-8",
        )
    name = request.GET.get("endpoint")
    if name != "all":
        endpoint = endpoint_named(readable(result.numbers), name)
        if endpoint is None:
            raise Http404("There is no such endpoint.")
        name = endpoint["finding"]
        frame = endpoint_readings(frame, name)
    note_export(result=result, actor=request.user, what=f"ratings of {name}")
    response = HttpResponse(to_csv(frame), content_type="text/csv; charset=utf-8")
    file_name = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    response["Content-Disposition"] = f'attachment; filename="{slug}-{file_name}.csv"'
    return response


@require_safe
@login_required
def result(request: HttpRequest, slug: str, result_id: str) -> HttpResponse:
    """The whole result as JSON: numbers, inputs, code."""
    found = _result(request, slug, result_id)
    note_export(result=found, actor=request.user, what="result")
    body = result_json(found)
    response = JsonResponse(body, json_dumps_params={"indent": 2, "ensure_ascii": False, "allow_nan": False})
    response["Content-Disposition"] = f'attachment; filename="{slug}-result.json"'
    return response
