"""FVP, focal visual perception: image and a sentence → the finding's box and the points that were looked at."""

from __future__ import annotations

import math
from functools import lru_cache

from gazex.evidence import condense, gaze_in, observation_box, window_of
from gazex.evidence.fixations import Samples
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.finished import Finished, finish
from gazex.tasks.formats import MAX_MS, Clue, Codec, Located, clean_text, format_located, whole_sentence
from gazex.tasks.said import affirmed


def prompt(sentence: str) -> str:
    return f'Locate the evidence for: "{clean_text(sentence)}"'


@lru_cache(maxsize=4)  # a visit's tasks ask for the same gaze again and again
def _samples_of(visit: Visit) -> Samples:
    return Samples(*gaze_in(visit, -math.inf, math.inf), visit.ppd_x, visit.ppd_y)


def clues_of(visit: Visit, start: float, end: float, most: int, codec: Codec | None = None) -> tuple[Clue, ...]:
    """Fixations of a stretch of the reading, condensed to at most `most` points, in the codec's coordinates."""
    codec = codec or Codec(visit.rows, visit.columns)
    points = condense(_samples_of(visit).fixations(start, end), most)
    return tuple(Clue(*codec.encode(p.x, p.y), min(MAX_MS, round(p.duration_ms))) for p in points)


def examples(
    visit: Visit,
    *,
    positive_only: bool = True,
    most_clues: int = 3,
    finished: Finished | None = None,
    codec: Codec | None = None,
) -> list[Example]:
    """One example for each sentence with gaze on the image; by default only those that affirm a finding.

    Parameters
    ----------
    visit
        The reading.
    positive_only
        Leave out sentences that affirm nothing (their finding is called "No Finding").
    most_clues
        Points looked at, at most.
    finished
        Clusters made before; made here if omitted.
    codec
        Coordinates; 0–1000 if omitted.
    """
    codec = codec or Codec(visit.rows, visit.columns)
    finished = finished or finish(visit)
    out = []
    for k, (text, _, _) in enumerate(visit.sentences):
        positive = affirmed(text)
        if (positive_only and not positive) or not whole_sentence(text):
            continue
        box = observation_box(list(finished.of(k)))
        if box is None:
            continue
        clues = clues_of(visit, *window_of(visit, k), most_clues, codec)
        located = Located(positive[0] if positive else "No Finding", codec.encode_box(box), clues)
        out.append(example_of(visit, "fvp", prompt(text), format_located(located), sentence=k))
    return out
