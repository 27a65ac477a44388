from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from study.models import Membership, Study


def researcher_studies(user: Any) -> QuerySet[Study]:
    """The studies this person is a researcher of."""
    if not user.is_authenticated or not user.is_active:
        return Study.objects.none()
    memberships = Membership.objects.filter(user=user, role=Membership.Role.RESEARCHER)
    return Study.objects.filter(pk__in=memberships.values("study"))


def is_researcher(user: Any) -> bool:
    return researcher_studies(user).exists()
