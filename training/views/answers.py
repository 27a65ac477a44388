from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import numpy as np
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST
from PIL import Image as Picture

from study.models import Study
from study.queries.reading import shown_image
from study.queries.studies import protocol_of
from study.services.errors import BadInput, Refused
from training.forms import StudyForm, TryForm, first_error
from training.models import Job
from training.queries import answerable_cases, jobs_visible_to, researcher_studies, versions_visible_to
from training.services import jobs
from training.services.pixels import frame_for_gazex

from .access import refused, researcher_required

#: Longest side of the picture on an answer's page, pixels.
SIDE = 900


@require_POST
@researcher_required
def ask(request: HttpRequest, version_id: UUID) -> HttpResponse:
    """Lets a version answer for one case; the answer's page waits for it."""
    version = get_object_or_404(versions_visible_to(request.user), pk=version_id)
    form = TryForm(request.POST, cases=answerable_cases(request.user))
    if not form.is_valid():
        return refused(request, BadInput(first_error(form)), "training:model", version_id=version.pk)
    image = shown_image(form.cleaned_data["case"])
    assert image is not None, "answerable_cases have images"
    job = jobs.request(kind=Job.Kind.ANSWER, actor=request.user, version=version, image=image)
    return redirect("training:answer", job_id=job.pk)


@require_POST
@researcher_required
def precompute(request: HttpRequest, version_id: UUID) -> HttpResponse:
    """Stores a version's answers for all cases of a study that names it."""
    version = get_object_or_404(versions_visible_to(request.user), pk=version_id)
    form = StudyForm(request.POST, studies=researcher_studies(request.user))
    if not form.is_valid():
        return refused(request, BadInput(first_error(form)), "training:model", version_id=version.pk)
    study = form.cleaned_data["study"]
    if study.state != Study.State.DRAFT or protocol_of(study).body.get("model_sha256") != version.weights_sha256:
        refusal = Refused(f"{study} is no draft that names {version} as its model.")
        return refused(request, refusal, "training:model", version_id=version.pk)
    jobs.request(kind=Job.Kind.PRECOMPUTE, actor=request.user, version=version, study=study)
    messages.success(request, f"{version} answers for the cases of {study}; the progress is on this page.")
    return redirect("training:dashboard")


@require_GET
@researcher_required
def answer(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = _job(request, job_id)
    assert job.version is not None and job.image is not None
    context: dict[str, Any] = {"job": job, "image": job.image, "case": job.image.case, "version": job.version}
    if job.output is not None and job.output.valid:
        evidence = job.output.evidence
        findings = sorted(evidence["findings"], key=lambda row: -row["probability"])
        context |= {
            "evidence": evidence,
            "findings": findings,
            "probable": [row for row in findings if row["probability"] >= 0.5],
            "boxes": _boxes(evidence),
            "trajectory": _trajectory(evidence),
            "font": max(evidence["rows"], evidence["columns"]) / 45,
        }
    return render(request, "training/answer.html", context)


@require_GET
@researcher_required
def status(request: HttpRequest, job_id: UUID) -> JsonResponse:
    job = _job(request, job_id)
    return JsonResponse({"state": job.state, "active": job.active, "error": job.error})


@require_GET
@researcher_required
def image(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The frame under the default window, as a PNG of at most 900 pixels a side."""
    job = _job(request, job_id)
    assert job.image is not None
    frame = frame_for_gazex(job.image).astype(np.float32)
    low, high = np.percentile(frame[::4, ::4], [1, 99.5])
    gray = np.clip((frame - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    picture = Picture.fromarray(gray)
    picture.thumbnail((SIDE, SIDE), Picture.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    response = HttpResponse(buffer.getvalue(), content_type="image/png")
    response["Cache-Control"] = "private, max-age=3600"
    return response


def _job(request: HttpRequest, job_id: UUID) -> Job:
    answers = jobs_visible_to(request.user).filter(kind=Job.Kind.ANSWER)
    return get_object_or_404(answers.select_related("version", "image__case", "output"), pk=job_id)


def _boxes(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """Boxes with a name each, for the drawing over the image."""
    return [
        {
            "x": item["box"][0],
            "y": item["box"][1],
            "width": item["box"][2] - item["box"][0],
            "height": item["box"][3] - item["box"][1],
            "label": item["finding"] or "",
            "verified": item["verified"],
        }
        for item in evidence["report"]
        if item["box"]
    ]


def _trajectory(evidence: dict[str, Any]) -> dict[str, Any]:
    """The inspection as a line through numbered points; a point's radius grows with the time spent there."""
    unit = max(evidence["rows"], evidence["columns"]) / 100
    points = [
        {"x": point["x"], "y": point["y"], "r": unit * (0.5 + min(point["duration_ms"], 1500) / 1500), "n": number}
        for number, point in enumerate(evidence["trajectory"], 1)
    ]
    return {"points": points, "line": " ".join(f"{p['x']:.1f},{p['y']:.1f}" for p in points), "unit": unit}
