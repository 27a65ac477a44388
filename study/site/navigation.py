from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from study.models import Membership
from study.registries import navigation as registered


def navigation(request: HttpRequest) -> dict[str, Any]:
    """The links at the top of the page: what this person's memberships open, and no more."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"nav": []}
    roles = set(Membership.objects.filter(user=user).values_list("role", flat=True))
    links: list[tuple[str, str]] = []
    if Membership.Role.READER in roles:
        links.append(("Worklist", reverse("study:worklist")))
    if Membership.Role.COORDINATOR in roles:
        links.append(("Studies", reverse("study:studies")))
    if roles & {Membership.Role.COORDINATOR, Membership.Role.RESEARCHER}:
        links.append(("Cases", reverse("study:cases")))
    for links_of in registered:
        links.extend(links_of(user))
    return {"nav": links}
