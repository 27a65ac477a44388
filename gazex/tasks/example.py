"""What every task makes of a visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gazex.schema import Visit

SCHEMA: Final = "gazeroom.examples/1"


@dataclass(frozen=True)
class Example:
    """One question with its answer, and where it came from.

    Attributes
    ----------
    task
        "report", "vqa", "fvp", "gtm" or "sda".
    prompt, target
        Text; the image (or the frames) stands before the prompt.
    visit, reader, patient, study
        Pseudonymous identifiers of the visit it was made from.
    frames
        For tasks on key frames: the cluster boxes shown, in the order shown, image pixels; empty where the image itself
        is the input.
    """

    task: str
    prompt: str
    target: str
    visit: str
    reader: str
    patient: str
    study: str
    frames: tuple[tuple[float, float, float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **self.__dict__, "frames": [list(f) for f in self.frames]}


def example_of(
    visit: Visit, task: str, prompt: str, target: str, frames: tuple[tuple[float, float, float, float], ...] = ()
) -> Example:
    return Example(task, prompt, target, visit.id, visit.reader, visit.patient, visit.study, frames)
