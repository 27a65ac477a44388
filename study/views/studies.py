"""The coordinator's pages: the studies, one study, and its steps from draft to unblinded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from study import registries
from study.models import Assignment, Membership, Study
from study.queries.monitoring import monitor
from study.queries.reading import reads_visible_to
from study.queries.studies import (
    STAFF,
    may_create_studies,
    protocol_of,
    roles_of,
    studies_visible_to,
    unfinished_assignments,
)
from study.services import reading, studies
from study.services.assistance import caveats_of
from study.services.errors import Refused
from study.services.protocol_body import calibration_rules

from .study_form import EnrolForm, ResearcherForm, StudyForm, next_code
from .support import page

COORDINATOR: Any = Membership.Role.COORDINATOR


@page
@require_safe
def study_list(request: HttpRequest) -> HttpResponse:
    may_create = may_create_studies(request.user)
    if not may_create and not roles_of(request.user) & set(STAFF):
        raise PermissionDenied
    listed = list(
        studies_visible_to(request.user, *STAFF).annotate(readers=Count("enrolments", distinct=True)).order_by("name")
    )
    counts = {
        row["enrolment__study"]: row
        for row in Assignment.objects.filter(enrolment__study__in=listed)
        .values("enrolment__study")
        .annotate(total=Count("pk"), done=Count("pk", filter=Q(read__state__in=["submitted", "invalidated"])))
        .order_by()
    }
    rows = [
        {
            "study": study,
            "cases": protocol_of(study).study_cases.count(),
            "done": counts.get(study.pk, {}).get("done", 0),
            "total": counts.get(study.pk, {}).get("total", 0),
        }
        for study in listed
    ]
    return render(request, "study/studies.html", {"rows": rows, "may_create": may_create})


@page
@require_http_methods(["GET", "HEAD", "POST"])
def study_new(request: HttpRequest) -> HttpResponse:
    if not may_create_studies(request.user):
        raise PermissionDenied
    form = StudyForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            study = form.save()
        except Refused as refusal:
            form.add_error(None, refusal.sentence)
        else:
            messages.success(request, f"{study} is created as a draft.")
            return redirect("study:study", study.slug)
    return render(request, "study/study_new.html", {"form": form}, status=400 if form.errors else 200)


@page
@require_safe
def study_page(request: HttpRequest, slug: str) -> HttpResponse:
    """The design, the state, and how the reading goes. Nothing of what was answered."""
    study = get_object_or_404(studies_visible_to(request.user, *STAFF), slug=slug)
    protocol = protocol_of(study)
    columns = [column(study) for column in registries.monitor_columns]
    rows = monitor(study)
    for row in rows:
        row.cells.extend(texts.get(row.enrolment.pk, "–") for _, texts in columns)
    done, total = sum(row.finished for row in rows), sum(row.total for row in rows)
    coordinates = studies_visible_to(request.user, COORDINATOR).contains(study)
    draft = study.state == Study.State.DRAFT
    return render(
        request,
        "study/study.html",
        {
            "study": study,
            "protocol": protocol,
            "caveats": caveats_of(protocol.body["model_sha256"]),
            "calibration": str(calibration_rules(protocol.body)),
            "arms": protocol.arms.order_by("pk"),
            "cases": protocol.study_cases.count(),
            "rows": rows,
            "done": done,
            "total": total,
            "headings": [heading for heading, _ in columns],
            "links": [link for links_of in registries.study_links for link in links_of(study, request.user)],
            "coordinates": coordinates,
            "unfinished": unfinished_assignments(study).count() if study.state == Study.State.OPEN else 0,
            "researchers": study.memberships.filter(role=Membership.Role.RESEARCHER).select_related("user"),
            "researcher_form": ResearcherForm(study=study) if coordinates else None,
            "enrol_form": EnrolForm(study=study) if coordinates and draft else None,
        },
    )


def _coordinated(request: HttpRequest, slug: str) -> Study:
    return get_object_or_404(studies_visible_to(request.user, COORDINATOR), slug=slug)


@page
@require_POST
def study_open(request: HttpRequest, slug: str) -> HttpResponse:
    study = studies.open_study(study=_coordinated(request, slug), actor=request.user)
    messages.success(request, f"{study} is open: its protocol and its plan are locked, and readers can begin.")
    return redirect("study:study", slug)


@page
@require_POST
def study_close(request: HttpRequest, slug: str) -> HttpResponse:
    study = _coordinated(request, slug)
    study = studies.close_study(study=study, actor=request.user, reason=request.POST.get("reason", ""))
    messages.success(request, f"{study} is closed.")
    return redirect("study:study", slug)


@page
@require_POST
def study_unblind(request: HttpRequest, slug: str) -> HttpResponse:
    study = studies.unblind_study(study=_coordinated(request, slug), actor=request.user)
    messages.success(request, f"{study} is unblinded; its results can be seen.")
    return redirect("study:study", slug)


@page
@require_POST
def study_enrol(request: HttpRequest, slug: str) -> HttpResponse:
    study = _coordinated(request, slug)
    form = EnrolForm(request.POST, study=study)
    if not form.is_valid():
        raise Refused("Choose a person who is not enrolled in this study yet.")
    code = next_code(study)
    studies.enrol(study=study, user=form.cleaned_data["user"], reader_code=code, actor=request.user)
    messages.success(request, f"{form.cleaned_data['user']} is enrolled as {code}.")
    return redirect("study:study", slug)


@page
@require_POST
def study_researcher(request: HttpRequest, slug: str) -> HttpResponse:
    study = _coordinated(request, slug)
    form = ResearcherForm(request.POST, study=study)
    if not form.is_valid():
        raise Refused("Choose a person who neither reads in this study nor is its researcher already.")
    studies.add_researcher(study=study, user=form.cleaned_data["user"], actor=request.user)
    messages.success(request, f"{form.cleaned_data['user']} is a researcher of {study}.")
    return redirect("study:study", slug)


@page
@require_POST
def read_invalidate(request: HttpRequest, slug: str, read_id: UUID) -> HttpResponse:
    study = _coordinated(request, slug)
    read = get_object_or_404(reads_visible_to(request.user), pk=read_id, assignment__enrolment__study=study)
    reading.invalidate(read=read, actor=request.user, reason=request.POST.get("reason", ""))
    messages.success(request, "The read is invalidated; its reader goes on with the next case.")
    return redirect("study:study", slug)
