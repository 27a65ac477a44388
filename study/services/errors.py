"""Refusals: what a service raises when something may not happen, always one sentence for the person who asked."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The act is not possible now. `sentence` names the thing and the remedy; `url` leads there where there is one."""

    status = 409

    def __init__(self, sentence: str, *, url: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.url = url


class BadInput(Refused):
    """What was sent cannot be understood or breaks a rule of the form; nothing was written."""

    status = 400


class NotAllowed(Refused):
    """The act exists, but not for this person or not in this state of the read."""

    status = 403


class NotYet(Refused):
    """The act will be possible later; the sentence says when."""
