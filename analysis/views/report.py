from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from analysis.models import AnalysisResult
from analysis.queries.results import results_visible_to
from analysis.services.bundle import bundle
from analysis.services.exporting import check_no_truth_for_readers, note_export
from analysis.services.report import document
from analysis.services.typesetting import pdf
from study.services.errors import Refused


def _result(request: HttpRequest, slug: str, result_id: str) -> AnalysisResult:
    results = results_visible_to(request.user).select_related("study", "study__analysis_plan")
    return get_object_or_404(results, pk=result_id, study__slug=slug)


@require_safe
@login_required
def page(request: HttpRequest, slug: str, result_id: str) -> HttpResponse:
    """The report as one page that prints well."""
    result = _result(request, slug, result_id)
    report = document(result)
    contents = [block for block in report["blocks"] if block["kind"] == "heading" and block["level"] == 2]
    for block in report["blocks"]:
        if block["kind"] == "table":  # a template cannot look into two lists at once
            numbers = [column["number"] for column in block["columns"]]
            block["cells"] = [list(zip(row, numbers, strict=True)) for row in block["rows"]]
    context = {"study": result.study, "result": result, "report": report, "contents": contents}
    return render(request, "analysis/report.html", context)


@require_safe
@login_required
def as_pdf(request: HttpRequest, slug: str, result_id: str) -> HttpResponse:
    """The same report as PDF."""
    result = _result(request, slug, result_id)
    content = pdf(result)
    note_export(result=result, actor=request.user, what="report (PDF)")
    return _download(content, "application/pdf", f"{slug}-report.pdf")


@require_safe
@login_required
def as_bundle(request: HttpRequest, slug: str, result_id: str) -> HttpResponse:
    """Tables, result, report and the program that recomputes it, as a zip."""
    result = _result(request, slug, result_id)
    try:
        check_no_truth_for_readers(result=result, actor=request.user)
        content = bundle(result)
    except Refused as refused:
        return HttpResponse(refused.sentence, status=409, content_type="text/plain; charset=utf-8")
    note_export(result=result, actor=request.user, what="bundle")
    return _download(content, "application/zip", f"{slug}-{str(result.pk)[:8]}.zip")


def _download(content: bytes, content_type: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
