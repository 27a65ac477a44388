from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from analysis.models import AnalysisPlan, AnalysisResult, AnalysisRun
from analysis.queries.readings import ReadingsError, completeness
from analysis.queries.results import results_visible_to, studies_analysed_by
from analysis.services import plan_body, reporting
from analysis.services.analysing import request_run
from analysis.services.planning import default_body, lock_plan, save_plan
from study.models import Study
from study.services.errors import Refused

from .forms import PlanForm


def _study(request: HttpRequest, slug: str) -> Study:
    return get_object_or_404(studies_analysed_by(request.user), slug=slug)


@require_safe
@login_required
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """The coordinator's page of one comparison: its plan, how far reading has come and, once unblinded, the result."""
    return _render(request, _study(request, slug))


def _render(request: HttpRequest, study: Study, form: PlanForm | None = None, status: int = 200) -> HttpResponse:
    plan = AnalysisPlan.objects.select_related("locked_by").filter(study=study).first()
    unblinded = study.state == Study.State.UNBLINDED
    context: dict[str, Any] = {"study": study, "plan": plan, "unblinded": unblinded}
    try:
        arms, rows = completeness(study)
        if form is None and not unblinded and not (plan and plan.is_locked):
            form = PlanForm(study, plan.body if plan else default_body(study))
    except ReadingsError as error:
        raise Http404(error.sentence) from error
    except Refused as refused:
        context["refused"] = refused.sentence
        arms, rows = [], []
    context |= {
        "arms": arms,
        "rows": rows,
        "submitted": sum(row.submitted for row in rows),
        "assigned": sum(row.assigned for row in rows),
        "form": form,
    }
    if plan is not None:
        context["plan_words"] = _plan_words(plan, {arm.key: arm.name for arm in arms})
    if unblinded:
        context["run"] = AnalysisRun.objects.filter(study=study).first()
        results = results_visible_to(request.user).filter(study=study)
        chosen = request.GET.get("result")
        result = _chosen(results, chosen) if chosen else results.first()
        if result is not None:
            context |= _result_context(request, result)
            context["results"] = results
    return render(request, "analysis/study.html", context, status=status)


def _chosen(results: QuerySet[AnalysisResult], named: str) -> AnalysisResult:
    try:
        return get_object_or_404(results, pk=UUID(named))
    except ValueError:
        raise Http404("There is no such result.") from None


def _result_context(request: HttpRequest, result: AnalysisResult) -> dict[str, Any]:
    numbers = reporting.readable(result.numbers)
    endpoint = reporting.endpoint_named(numbers, request.GET.get("endpoint"))
    if endpoint is None:
        raise Http404("There is no such endpoint.")
    found = endpoint["result"]
    names = reporting.arm_names(numbers)
    return {
        "result": result,
        "numbers": numbers,
        "endpoint": endpoint,
        "found": found,
        "headline": reporting.endpoint_sentences(numbers, endpoint),
        "time_sentences": reporting.time_sentences(numbers),
        "summary": reporting.summary_rows(numbers),
        "readers": reporting.reader_rows(numbers, endpoint),
        "scores": reporting.score_rows(numbers, endpoint),
        "times": reporting.time_rows(numbers),
        "names": names,
        "comparisons": [
            {**comparison, "names": [names[key] for key in comparison["treatments"]]}
            for comparison in (found["comparisons"] if found else [])
        ],
        "means": [
            {**mean, "name": arm["name"]}
            for arm in numbers["arms"]
            for mean in (found["means"] if found else [])
            if mean["treatment"] == arm["key"]
        ],
        "interval_name": reporting.percent(numbers["plan"]["alpha"]),
        "deviations": reporting.deviations(numbers),
        "shown": [(names[key], *counts) for key, counts in numbers["conduct"].get("shown", {}).items()],
        "has_flips": len(endpoint["changes"]) == 1,
        "models": [{**model, "name": names[key]} for key, model in numbers["time"]["models"].items()],
        "adjustment": plan_body.MULTIPLICITY[numbers["plan"]["multiplicity"]],
        "old": numbers["schema"] == "gazeroom.analysis/1",
    }


def _plan_words(plan: AnalysisPlan, arms: dict[str, str]) -> list[tuple[str, str]]:
    return reporting.plan_words(plan_body.complete(plan.body), arms)


@require_POST
@login_required
def save(request: HttpRequest, slug: str) -> HttpResponse:
    """Save the draft of the plan; with the button "lock" pressed, lock what was saved."""
    study = _study(request, slug)
    plan = AnalysisPlan.objects.filter(study=study).first()
    try:
        form = PlanForm(study, plan.body if plan else default_body(study), request.POST)
        if not form.is_valid():
            return _render(request, study, form, status=400)
        save_plan(study=study, body=form.body(), actor=request.user)
        if "lock" in request.POST:
            lock_plan(study=study, actor=request.user)
            messages.success(request, "The analysis plan is locked; it will not change any more.")
        else:
            messages.success(request, "The draft of the analysis plan is saved.")
    except Refused as refused:
        messages.error(request, refused.sentence)
    return redirect("analysis:study", slug=slug)


@require_POST
@login_required
def lock(request: HttpRequest, slug: str) -> HttpResponse:
    """Lock the plan as it was saved last."""
    study = _study(request, slug)
    try:
        lock_plan(study=study, actor=request.user)
        messages.success(request, "The analysis plan is locked; it will not change any more.")
    except Refused as refused:
        messages.error(request, refused.sentence)
    return redirect("analysis:study", slug=slug)


@require_POST
@login_required
def run(request: HttpRequest, slug: str) -> HttpResponse:
    """Queue the analysis; the page then shows its progress."""
    study = _study(request, slug)
    try:
        request_run(study=study, actor=request.user)
    except Refused as refused:
        messages.error(request, refused.sentence)
    return redirect("analysis:study", slug=slug)


@require_safe
@login_required
def progress(request: HttpRequest, slug: str, run_id: str) -> HttpResponse:
    """The progress fragment; once the run is over it asks htmx to load the page anew."""
    study = _study(request, slug)
    found = get_object_or_404(AnalysisRun, pk=run_id, study=study)
    response = render(request, "analysis/progress.html", {"run": found, "study": study})
    if not found.is_active:
        response["HX-Refresh"] = "true"
    return response
