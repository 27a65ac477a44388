from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from training.forms import CompareForm, ReleaseForm, RunForm
from training.models import Job
from training.queries import (
    current_version,
    eligible_reads,
    jobs_visible_to,
    releases_visible_to,
    runs_visible_to,
    unreleased,
    versions_visible_to,
)
from training.services import leases

from .access import researcher_required

SHOWN = 20


@require_GET
@researcher_required
def dashboard(request: HttpRequest) -> HttpResponse:
    versions = versions_visible_to(request.user)
    releases = releases_visible_to(request.user)
    eligible = eligible_reads(request.user)
    fresh = unreleased(eligible)
    pair = list(versions[:2])
    context = {
        **_activity(request),
        "eligible": eligible.count(),
        "fresh": fresh.count(),
        "patients": eligible.values("assignment__case__patient").distinct().count(),
        "readers": eligible.values("assignment__enrolment__user").distinct().count(),
        "simulated": eligible.filter(assignment__enrolment__study__simulated=True).count(),
        "versions": versions.select_related("base", "run__release"),
        "current": current_version(),
        "base_model": settings.GAZEX_BASE_MODEL,
        "release_form": ReleaseForm(initial={"name": f"Release {releases.count() + 1}"}),
        "run_form": RunForm(releases=releases, versions=versions, initial={"base": current_version()}),
        "compare_form": CompareForm(versions=versions, initial={"a": pair[1], "b": pair[0]} if len(pair) == 2 else {}),
    }
    return render(request, "training/dashboard.html", context)


@require_GET
@researcher_required
def activity(request: HttpRequest) -> HttpResponse:
    """What is under way and what has come out, for the dashboard that asks every two seconds while something is."""
    return render(request, "training/_activity.html", _activity(request))


def _activity(request: HttpRequest) -> dict[str, Any]:
    jobs = jobs_visible_to(request.user).exclude(kind=Job.Kind.ANSWER).select_related("study", "version", "release")
    runs = runs_visible_to(request.user).select_related("release", "base", "model_version")[:SHOWN]
    under_way = [job for job in jobs[:SHOWN] if job.active]
    latest = jobs.first()
    # A job that failed stays on the page until the next one is asked for.
    failed = latest if latest is not None and latest.state == Job.State.FAILED else None
    return {
        "jobs": under_way,
        "failed_job": failed,
        "runs": runs,
        "releases": releases_visible_to(request.user).prefetch_related("release_reads")[:SHOWN],
        "active": bool(under_way) or any(run.active for run in runs),
    }


@require_POST
@researcher_required
def cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = get_object_or_404(jobs_visible_to(request.user), pk=job_id)
    if not leases.request_cancel(row=job):
        messages.info(request, "It had ended already.")
    return redirect("training:dashboard")
