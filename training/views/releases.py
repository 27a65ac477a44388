from __future__ import annotations

from collections import Counter
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from study.services.errors import BadInput, Refused
from training.forms import ReleaseForm, first_error
from training.models import Job
from training.queries import eligible_reads, releases_visible_to
from training.services import jobs

from .access import refused, researcher_required


@require_POST
@researcher_required
def build(request: HttpRequest) -> HttpResponse:
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        return refused(request, BadInput(first_error(form)), "training:dashboard")
    if not eligible_reads(request.user).exists():
        return refused(
            request, Refused("No read is eligible yet, so there is nothing to release."), "training:dashboard"
        )
    try:
        jobs.request(kind=Job.Kind.RELEASE, actor=request.user, name=form.cleaned_data["name"])
    except Refused as refusal:
        return refused(request, refusal, "training:dashboard")
    return redirect("training:dashboard")


@require_GET
@researcher_required
def release(request: HttpRequest, release_id: UUID) -> HttpResponse:
    release = get_object_or_404(releases_visible_to(request.user), pk=release_id)
    rows = release.manifest["reads"]
    labels = Counter(finding for row in rows for finding in row["labels"])
    context = {
        "release": release,
        "rows": rows,
        "labels": labels.most_common(),
        "patients": len({row["patient"] for row in rows}),
        "readers": len({row["reader"] for row in rows}),
        "samples": sum(row["samples"] for row in rows),
        "sentences": sum(row["sentences"] for row in rows),
        "runs": release.runs.select_related("base", "model_version"),
    }
    return render(request, "training/release.html", context)


@require_GET
@researcher_required
def manifest(request: HttpRequest, release_id: UUID) -> JsonResponse:
    """The manifest whose canonical form (keys sorted, no spaces) has the release's SHA-256."""
    return JsonResponse(get_object_or_404(releases_visible_to(request.user), pk=release_id).manifest)
