"""Where the rooms above ask to be heard. `study` calls these; it never imports who registered.

Each registry is filled in an app's `AppConfig.ready` and read by a service or a view here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[F]):
    """An ordered set of functions; registering the same one twice is the same as once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: list[F] = []

    def register(self, function: F) -> F:
        if function not in self._functions:
            self._functions.append(function)
        return function

    def __iter__(self) -> Any:
        return iter(tuple(self._functions))


@dataclass(frozen=True)
class Refusal:
    """Why something may not happen yet, in one sentence, and where the remedy is."""

    sentence: str
    url: str | None = None


#: (assignment, request) -> Refusal | None. The first refusal sends the reader to its url.
before_case_opens: Registry[Callable[..., Refusal | None]] = Registry("before_case_opens")

#: (study, target_state) -> Refusal | None. Any refusal stops the transition.
before_transition: Registry[Callable[..., Refusal | None]] = Registry("before_transition")

#: (read, request) -> dict. Merged into the reading room's `capture` configuration.
reading_room_capture: Registry[Callable[..., dict[str, Any] | None]] = Registry("reading_room_capture")

#: (read) -> None, inside the submitting transaction.
read_submitted: Registry[Callable[..., None]] = Registry("read_submitted")

#: (study) -> (heading, {enrolment_id: text}).
monitor_columns: Registry[Callable[..., tuple[str, dict[int, str]]]] = Registry("monitor_columns")

#: (study, user) -> list[(label, url)]: what the study's page links to in the rooms above.
study_links: Registry[Callable[..., list[tuple[str, str]]]] = Registry("study_links")

#: (enrolment, request) -> list[(label, url)]: what a reader may do before reading and need not.
worklist_offers: Registry[Callable[..., list[tuple[str, str]]]] = Registry("worklist_offers")

#: (user) -> list[(label, url)]: top-level navigation.
navigation: Registry[Callable[..., list[tuple[str, str]]]] = Registry("navigation")

#: (weights sha256) -> str: what whoever reads with this model must know of it, in few words; "" for nothing.
model_caveats: Registry[Callable[..., str]] = Registry("model_caveats")

#: (user) -> list[(label, weights sha256)]: the models a comparison can be made with.
assisting_models: Registry[Callable[..., list[tuple[str, str]]]] = Registry("assisting_models")
