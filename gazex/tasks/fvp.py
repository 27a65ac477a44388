"""FVP, focal visual perception: image and a sentence → the finding's box and the points that were looked at."""

from __future__ import annotations

from gazex.evidence import clusters_of, condense, fixations, gaze_in, observation_box, window_of
from gazex.findings import label_sentence
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.formats import MAX_MS, Clue, Codec, Located, clean_text, format_located


def prompt(sentence: str) -> str:
    return f'Locate the evidence for: "{clean_text(sentence)}"'


def clues_of(visit: Visit, start: float, end: float, most: int) -> tuple[Clue, ...]:
    """Fixations of a stretch of the reading, condensed to at most `most` points, 0–1000 coordinates."""
    codec = Codec(visit.rows, visit.columns)
    points = condense(fixations(*gaze_in(visit, start, end), visit.ppd_x, visit.ppd_y), most)
    return tuple(Clue(*codec.encode(p.x, p.y), min(MAX_MS, round(p.duration_ms))) for p in points)


def examples(visit: Visit, *, positive_only: bool = True, most_clues: int = 3) -> list[Example]:
    """One example for each sentence with gaze on the image; by default only those that affirm a finding."""
    codec = Codec(visit.rows, visit.columns)
    out = []
    for k, (text, _, _) in enumerate(visit.sentences):
        positive = [f for f, mention in label_sentence(text).items() if mention == "positive"]
        if (positive_only and not positive) or not clean_text(text):
            continue
        box = observation_box(clusters_of(visit, k))
        if box is None:
            continue
        clues = clues_of(visit, *window_of(visit, k), most_clues)
        located = Located(positive[0] if positive else "No Finding", codec.encode_box(box), clues)
        out.append(example_of(visit, "fvp", prompt(text), format_located(located)))
    return out
