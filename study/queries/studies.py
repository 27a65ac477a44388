"""Which studies, enrolments and cases a person may see. Every permission is one of these: `queryset.contains(obj)`."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from study.models import Assignment, Case, Enrolment, Image, Membership, ProtocolVersion, Study, User

Role: Any = Membership.Role
STAFF = (Role.COORDINATOR, Role.RESEARCHER)


def roles_of(user: User) -> set[str]:
    """Every role the person has in any study."""
    return set(Membership.objects.filter(user=user).values_list("role", flat=True))


def studies_visible_to(user: User, *roles: str) -> QuerySet[Study]:
    """Studies in which the person has one of these roles (none named: any role)."""
    mine = Membership.objects.filter(study=OuterRef("pk"), user=user)
    if roles:
        mine = mine.filter(role__in=roles)
    return Study.objects.filter(Exists(mine))


def may_create_studies(user: User) -> bool:
    """Coordinators create studies; on a fresh site, where nobody is one yet, so does a superuser."""
    return user.is_superuser or Role.COORDINATOR in roles_of(user)


def enrolments_of(user: User) -> QuerySet[Enrolment]:
    """The person's own places as a reader, withdrawn ones left out."""
    return Enrolment.objects.filter(user=user, withdrawn_at__isnull=True).select_related("study")


def protocol_of(study: Study) -> ProtocolVersion:
    """The protocol that is read: the latest version."""
    return study.protocols.latest("number")


def cases_visible_to(user: User) -> QuerySet[Case]:
    """The library of cases, for coordinators, researchers and the site's staff.

    A person who also reads is kept blind: cases of a study they are enrolled in stay out until it is unblinded (a
    comparison) or closed (a collection), because a case's page shows its truth.
    """
    if not user.is_staff and not roles_of(user) & set(STAFF):
        return Case.objects.none()
    finished = Q(state=Study.State.UNBLINDED) | Q(kind=Study.Kind.COLLECTION, state=Study.State.CLOSED)
    blind = Study.objects.filter(enrolments__user=user).exclude(finished)
    return Case.objects.exclude(study_cases__protocol__study__in=blind)


def readable_cases() -> QuerySet[Case]:
    """Cases with at least one image."""
    return Case.objects.filter(Exists(Image.objects.filter(case=OuterRef("pk"))))


def with_progress(enrolments: QuerySet[Enrolment]) -> QuerySet[Enrolment]:
    """Each enrolment with `total`, `submitted`, `invalidated` and `reading` (assignments in that state)."""
    return enrolments.annotate(
        total=Count("assignments"),
        submitted=Count("assignments", filter=Q(assignments__read__state="submitted")),
        invalidated=Count("assignments", filter=Q(assignments__read__state="invalidated")),
        reading=Count("assignments", filter=Q(assignments__read__state__in=["open", "initial_locked", "revealed"])),
    )


def unfinished_assignments(study: Study) -> QuerySet[Assignment]:
    """Assignments that are neither submitted nor invalidated."""
    return Assignment.objects.filter(enrolment__study=study).exclude(read__state__in=["submitted", "invalidated"])
