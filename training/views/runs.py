from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from study.services.errors import BadInput, Refused
from training.forms import RunForm, first_error
from training.models import TrainingRun
from training.queries import releases_visible_to, runs_visible_to, versions_visible_to
from training.services import gates, running

from .access import refused, researcher_required

#: A longer curve is thinned for the page; the rows stay.
POINTS = 1500


@require_POST
@researcher_required
def start(request: HttpRequest) -> HttpResponse:
    form = RunForm(request.POST, releases=releases_visible_to(request.user), versions=versions_visible_to(request.user))
    if not form.is_valid():
        return refused(request, BadInput(first_error(form)), "training:dashboard")
    try:
        run = running.start_run(**form.cleaned_data, actor=request.user)
    except Refused as refusal:
        return refused(request, refusal, "training:dashboard")
    return redirect("training:run", run_id=run.pk)


@require_GET
@researcher_required
def run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    context = {
        "run": run,
        "status": _status(run),
        "gate": gates.describe(run.gate),
        "version": getattr(run, "model_version", None),
    }
    return render(request, "training/run.html", context)


@require_GET
@researcher_required
def status(request: HttpRequest, run_id: UUID) -> JsonResponse:
    """State, progress, and the points of the curve stored since `?since=` (a point's id; 0 for all of them)."""
    run = _run(request, run_id)
    try:
        since = int(request.GET.get("since", 0))
    except ValueError:
        return JsonResponse({"error": "since has to be a whole number."}, status=400)
    points = run.steps.filter(pk__gt=since).order_by("pk")
    last = points.values_list("pk", flat=True).last() or since
    thin = max(1, -(-points.count() // POINTS))
    if thin > 1:
        points = points.annotate(place=F("step") % thin).filter(place=0)
    curve = list(points.values_list("step", "loss", "lr"))
    return JsonResponse(_status(run) | {"last": last, "points": curve})


@require_POST
@researcher_required
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    try:
        running.cancel_run(run=run, actor=request.user)
    except Refused as refusal:
        return refused(request, refusal, "training:run", run_id=run.pk)
    return redirect("training:run", run_id=run.pk)


@require_POST
@researcher_required
def resume(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    try:
        running.resume_run(run=run, actor=request.user)
    except Refused as refusal:
        return refused(request, refusal, "training:run", run_id=run.pk)
    return redirect("training:run", run_id=run.pk)


def _run(request: HttpRequest, run_id: UUID) -> TrainingRun:
    runs = runs_visible_to(request.user).select_related("release", "base", "model_version")
    return get_object_or_404(runs, pk=run_id)


def _status(run: TrainingRun) -> dict[str, Any]:
    version = getattr(run, "model_version", None)
    ended = run.finished_at or timezone.now()
    return {
        "state": run.state,
        "label": run.get_state_display(),
        "active": run.active,
        "stopping": run.active and run.cancel_requested,
        "phase": run.phase,
        "step": run.step,
        "total": run.total,
        "loss": run.loss,
        "attempt": run.attempt,
        "seconds": round((ended - run.started_at).total_seconds()) if run.started_at else None,
        "error": run.error,
        "sentence": _sentence(run),
        "model": {"name": version.name, "url": reverse("training:model", args=[version.pk])} if version else None,
    }


def _sentence(run: TrainingRun) -> str:
    """What the run is doing, for the top of its page."""
    if run.state == TrainingRun.State.QUEUED:
        return "Waiting for a worker of the gpu queue." if not run.step else f"Waiting to go on from step {run.step}."
    if run.state == TrainingRun.State.RUNNING:
        if run.cancel_requested:
            return "Stopping at a checkpoint …"
        if run.phase == TrainingRun.Phase.EVALUATING:
            return f"Trained {run.total} steps; now evaluating on {run.gate['cases']} frozen phantoms."
        if run.phase == TrainingRun.Phase.CALIBRATING:
            return f"Trained {run.total} steps; now calibrating the probabilities."
        if not run.step:
            return "Loading the base model and the release …"
        return f"Step {run.step} of {run.total}."
    if run.state == TrainingRun.State.SUCCEEDED:
        return f"Trained {run.total} steps; the new model version is ready."
    if run.state == TrainingRun.State.CANCELLED:
        return f"Cancelled at step {run.step} of {run.total}; it can be resumed from there."
    return run.error
