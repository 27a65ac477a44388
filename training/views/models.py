from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from study.models import ProtocolVersion, Study
from study.services.errors import BadInput, Refused
from training.forms import CompareForm, TryForm, first_error
from training.models import Job, ModelVersion
from training.queries import (
    ancestor_releases,
    answerable_cases,
    current_version,
    jobs_visible_to,
    lineage,
    patients_of_release,
    researcher_studies,
    versions_visible_to,
)
from training.services import gates, jobs, metrics
from training.services import models as services

from .access import refused, researcher_required


@require_POST
@researcher_required
def register(request: HttpRequest) -> HttpResponse:
    jobs.request(kind=Job.Kind.REGISTER, actor=request.user)
    return redirect("training:dashboard")


@require_GET
@researcher_required
def model(request: HttpRequest, version_id: UUID) -> HttpResponse:
    version = _version(request, version_id)
    releases = list(ancestor_releases(version))
    answers = jobs_visible_to(request.user).filter(kind=Job.Kind.ANSWER, version=version)
    current = current_version()
    checks = gates.checks(version)
    context = {
        "version": version,
        "current": current,
        "is_current": version == current,
        "previous": services.previous_version() if version == current else None,
        "lineage": lineage(version),
        "releases": releases,
        "patients": patients_of_release(*releases).count(),
        "checks": checks,
        "passes": all(check.passed for check in checks),
        "rows": metrics.compare(version.base, version) if version.base else metrics.compare(None, version),
        "try_form": TryForm(cases=answerable_cases(request.user)),
        "answers": answers.select_related("image__case")[:5],
        "studies": _studies_that_need(version, request),
        "card": _lines(version.card),
    }
    return render(request, "training/model.html", context)


@require_GET
@researcher_required
def compare(request: HttpRequest) -> HttpResponse:
    versions = versions_visible_to(request.user)
    form = CompareForm(request.GET, versions=versions)
    if not form.is_valid():
        return refused(request, BadInput(first_error(form)), "training:dashboard")
    a, b = form.cleaned_data["a"], form.cleaned_data["b"]
    context = {
        "a": a,
        "b": b,
        "form": form,
        "rows": metrics.compare(a, b),
        "sides": [{"version": v, "lineage": lineage(v), "card": _lines(v.card)} for v in (a, b)],
    }
    return render(request, "training/compare.html", context)


@require_POST
@researcher_required
def promote(request: HttpRequest, version_id: UUID) -> HttpResponse:
    version = _version(request, version_id)
    try:
        services.promote(version=version, actor=request.user)
    except Refused as refusal:
        return refused(request, refusal, "training:model", version_id=version.pk)
    messages.success(request, f"{version} is promoted: new training runs start from it.")
    return redirect("training:model", version_id=version.pk)


@require_POST
@researcher_required
def rollback(request: HttpRequest) -> HttpResponse:
    try:
        promotion = services.rollback(actor=request.user)
    except Refused as refusal:
        return refused(request, refusal, "training:dashboard")
    messages.success(request, f"Rolled back to {promotion.version}.")
    return redirect("training:model", version_id=promotion.version_id)


def _version(request: HttpRequest, version_id: UUID) -> ModelVersion:
    versions = versions_visible_to(request.user).select_related("base", "run__release")
    return get_object_or_404(versions, pk=version_id)


def _studies_that_need(version: ModelVersion, request: HttpRequest) -> list[Study]:
    """This researcher's draft studies that name the version as their model."""
    protocols = ProtocolVersion.objects.filter(body__model_sha256=version.weights_sha256)
    drafts = researcher_studies(request.user).filter(state=Study.State.DRAFT)
    return list(drafts.filter(pk__in=protocols.values("study")))


def _lines(card: dict[str, Any]) -> list[tuple[str, str]]:
    """A card as lines to read; what is nested deeper (rates, the gate, the lineage) is left to its JSON."""
    return [(_name(key), words) for key, value in card.items() if (words := _words(value))]


def _name(key: str) -> str:
    """Of a key, with its unit as a reader expects it: "training_cpu_s" is "training cpu, s"."""
    words = key.removesuffix("_s").replace("_", " ")
    return f"{words}, s" if key.endswith("_s") else words


def _words(value: Any) -> str:
    """A card's value in one line; nothing where there is none, or only deeper ones."""
    if isinstance(value, dict):
        plain = {key: v for key, v in value.items() if not isinstance(v, dict | list | None)}
        return ", ".join(f"{_name(key)} {v}" for key, v in plain.items())
    if isinstance(value, list):
        return "; ".join(str(v) for v in value if not isinstance(v, dict | list | None))
    return "" if value is None else str(value)
