"""What a researcher may see and use; a single object's permission is `queryset.contains(obj)`."""

from .reads import eligible_reads, guarded_patients, unreleased
from .releases import patients_of_release, releases_visible_to
from .roles import is_researcher, researcher_studies
from .runs import jobs_visible_to, runs_visible_to
from .versions import (
    ancestor_releases,
    answerable_cases,
    current_version,
    lineage,
    version_with,
    versions_offered_to,
    versions_visible_to,
)

__all__ = [
    "ancestor_releases",
    "answerable_cases",
    "current_version",
    "eligible_reads",
    "guarded_patients",
    "is_researcher",
    "jobs_visible_to",
    "lineage",
    "patients_of_release",
    "releases_visible_to",
    "researcher_studies",
    "runs_visible_to",
    "unreleased",
    "version_with",
    "versions_offered_to",
    "versions_visible_to",
]
