"""What every task makes of a visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gazex.schema import Visit

SCHEMA: Final = "gazeroom.examples/1"
TASKS: Final = ("report", "vqa", "fvp", "gtm", "sda", "grounding")
FORMATS: Final = ("ours", "published")
MEDIA: Final = ("image", "video")
Frame = tuple[float, float, float, float]


@dataclass(frozen=True)
class Example:
    """One question with its answer, and where it came from.

    Attributes
    ----------
    task
        One of `TASKS`.
    prompt, target
        Text. The media stand before the prompt, or where it says `<image>` and `<video>`.
    visit, reader, patient, study
        Pseudonymous identifiers of the visit it was made from.
    frames
        For tasks on key frames: the cluster boxes shown, in the order shown, image pixels; empty where the image itself
        is the only input.
    media
        What is shown, in order: "image" is the radiograph, "video" the key frames or the attention video.
    sentence
        The sentence of the visit it is about, from 0; −1 where it is about the whole reading.
    image_file
        The radiograph, relative to the folder of visits.
    rows, columns
        Size of the radiograph, which the coordinates refer to.
    format
        "ours" or "published".
    """

    task: str
    prompt: str
    target: str
    visit: str
    reader: str
    patient: str
    study: str
    frames: tuple[Frame, ...] = ()
    media: tuple[str, ...] = ("image",)
    sentence: int = -1
    image_file: str = ""
    rows: int = 0
    columns: int = 0
    format: str = "ours"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the schema's name."""
        return {
            "schema": SCHEMA,
            **self.__dict__,
            "frames": [list(f) for f in self.frames],
            "media": list(self.media),
        }


def example_of(
    visit: Visit,
    task: str,
    prompt: str,
    target: str,
    frames: Sequence[Frame] = (),
    *,
    media: Sequence[str] | None = None,
    sentence: int = -1,
    format: str = "ours",
) -> Example:
    """An example of a visit; without `media`, a video where there are frames, else the image."""
    return Example(
        task,
        prompt,
        target,
        visit.id,
        visit.reader,
        visit.patient,
        visit.study,
        tuple(frames),
        tuple(media) if media is not None else ("video",) if frames else ("image",),
        sentence,
        visit.image_file,
        visit.rows,
        visit.columns,
        format,
    )
