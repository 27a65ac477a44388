from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from study.models import Membership
from study.queries.studies import may_create_studies, roles_of

from .support import page


@page
def home(request: HttpRequest) -> HttpResponse:
    """Where a person's work is: the widest of their roles decides."""
    roles = roles_of(request.user)
    if Membership.Role.COORDINATOR in roles:
        return redirect("study:studies")
    if Membership.Role.RESEARCHER in roles:
        return redirect("/training/")
    if Membership.Role.READER in roles:
        return redirect("study:worklist")
    return render(request, "study/welcome.html", {"may_create": may_create_studies(request.user)})
