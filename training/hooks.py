"""What this room says when `study` asks."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from study.models import Membership, Patient, Study
from study.queries.studies import protocol_of, studies_visible_to
from study.registries import Refusal
from training.queries import ancestor_releases, is_researcher, patients_of_release, version_with, versions_offered_to


def refuse_leaks(study: Study, target_state: str) -> Refusal | None:
    """A comparison opens only if no release that its model or an ancestor learnt from holds one of its patients.

    A model that is no ModelVersion was not trained here, so no release of ours can be in it. That each case has a valid
    output of the model is `study.services.studies`' own check.
    """
    if target_state != Study.State.OPEN or study.kind != Study.Kind.COMPARISON:
        return None
    protocol = protocol_of(study)
    version = version_with(protocol.body.get("model_sha256"))
    if version is None:
        return None
    releases = list(ancestor_releases(version))
    patients = Patient.objects.filter(cases__study_cases__protocol=protocol)
    seen = patients.filter(pk__in=patients_of_release(*releases)).distinct()
    if not seen.exists():
        return None
    names = ", ".join(f"“{release}”" for release in releases)
    return Refusal(
        f"{version} has learnt from {seen.count()} of {patients.distinct().count()} patients of {study} "
        f"(release {names}); choose other cases or another model.",
        reverse("training:model", args=[version.pk]),
    )


def navigation(user: Any) -> list[tuple[str, str]]:
    return [("GazeX", reverse("training:dashboard"))] if is_researcher(user) else []


def assisting_models(user: Any) -> list[tuple[str, str]]:
    """The versions that this person can make a comparison with, newest first."""
    offered = versions_offered_to(user).order_by("-created_at")
    return [(version.label, version.weights_sha256) for version in offered]


def model_caveat(sha256: str) -> str:
    version = version_with(sha256)
    return version.caveat if version else ""


def study_links(study: Study, user: Any) -> list[tuple[str, str]]:
    """From a draft comparison to its model, where a researcher of the study computes the answers it opens with."""
    role: Any = Membership.Role.RESEARCHER
    if study.state != Study.State.DRAFT or not studies_visible_to(user, role).contains(study):
        return []
    version = version_with(protocol_of(study).body["model_sha256"])
    return [("Compute GazeX's answers", reverse("training:model", args=[version.pk]))] if version else []
