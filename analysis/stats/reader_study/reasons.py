"""Why there is no number, as one clause that pages put into their sentences."""

from __future__ import annotations


def because(error: Exception | str) -> str:
    """ "not estimable, because …", without a full stop, from the sentence of an error."""
    reason = str(error).rstrip(".")
    if reason.startswith("not estimable"):
        return reason
    # A name or an abbreviation keeps its capitals.
    first = reason[:1].lower() if reason[1:2].islower() or reason[1:2] == " " else reason[:1]
    return f"not estimable, because {first}{reason[1:]}"
