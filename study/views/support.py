"""What the views share: refusals become pages or JSON with the right status, bodies become values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from study.services.errors import BadInput, Refused

View = Callable[..., HttpResponse]


def page(view: View) -> View:
    """A page for people who are signed in; a refusal is a page with its sentence and its status."""

    @login_required
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return render(request, "study/refused.html", {"refusal": refusal}, status=refusal.status)

    return wrapped


def endpoint(view: View) -> View:
    """What the reading room's script speaks to: every answer that is not the wanted one is {"error": sentence}."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "You are signed out; sign in again in another tab."}, status=401)
        try:
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return JsonResponse({"error": refusal.sentence}, status=refusal.status)
        except Http404:
            return JsonResponse({"error": "There is no such read, or it is not yours."}, status=404)

    return wrapped


#: An escaped NUL, which PostgreSQL stores in no text; a backslash that is escaped itself does not count.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def json_body(request: HttpRequest) -> dict[str, Any]:
    """The body as a JSON object.

    Raises
    ------
    BadInput
        Where it is not one.
    """
    try:
        text = request.body.decode()
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # fails on half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise BadInput("The body is not JSON.") from error
    if _NUL.search(text):
        raise BadInput("The body is not text that can be stored: it holds a NUL character.")
    if not isinstance(value, dict):
        raise BadInput("The body is not a JSON object.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    """1e999 is good JSON and no number a database column holds."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large")
    return value


def _bounded(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a whole number of more than 20 digits")
    return int(digits)
