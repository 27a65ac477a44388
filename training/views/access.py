"""Who gets in: researchers. Which objects: the querysets of `training.queries`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from study.services.errors import Refused
from training.queries import is_researcher

View = Callable[..., HttpResponse]


def researcher_required(view: View) -> View:
    """Signed in and a researcher of some study; else the sign-in page, or 403."""

    @login_required
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not is_researcher(request.user):
            raise PermissionDenied("These pages are for researchers.")
        return view(request, *args, **kwargs)

    return inner


def refused(request: HttpRequest, refusal: Refused, back: Any, **kwargs: Any) -> HttpResponse:
    """Back to the page that asked, with the sentence on top of it."""
    messages.error(request, refusal.sentence)
    return redirect(back, **kwargs)
