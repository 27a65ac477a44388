"""Numbers as the analysis pages print them."""

from __future__ import annotations

from typing import Any

from django import template

from analysis.services import reporting

register = template.Library()


@register.filter
def fixed(value: Any, places: int = 3) -> str:
    """A number; what is not there at all, which a template gives as an empty text, is a dash as None is."""
    return reporting.fixed(None if value == "" else value, places)


@register.filter
def p_value(value: Any) -> str:
    return "–" if value in (None, "") else reporting.p_value(value).removeprefix("p = ").removeprefix("p ")


@register.filter
def interval(value: Any, places: int = 3) -> str:
    """``(low, high)``, or an object with ``lower`` and ``upper``."""
    if value in (None, ""):
        return "–"
    low, high = (value.get("lower"), value.get("upper")) if isinstance(value, dict) else value
    if low is None or high is None:
        return "–"
    return f"{reporting.fixed(low, places)} to {reporting.fixed(high, places)}"


@register.filter
def capital(text: str) -> str:
    return reporting.capital(text)
