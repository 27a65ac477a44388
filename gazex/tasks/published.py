"""The published examples (arXiv 2604.14316), beside ours: for comparison, and for models that were trained on them.

FVP   image + sentence → `visual clues : [(x0,y0)(x1,y1)(cx,cy),…] observation : [(x0,y0)(x1,y1)(cx,cy)]`; a sentence
      of one cluster has the observation only
GTM   attention video + image → report; image → report; one sentence's clip + image → the sentence
SDA   shuffled video + image → order and report, over the whole reading (one frame a sentence); a shuffled clip → order,
      within a sentence

Boxes and centroids are quarter-scale pixels, cut to whole numbers. What is shown and what is answered follow the paper;
its mistakes are not repeated: an order is the inverse permutation from 1 with commas between, every reading gets one,
shuffles follow from the seed, boxes are not narrowed. The wording of the prompts is ours (`PROMPTS`); give the paper's
own, or any other, as `prompts`: the places `{sentence}` and `{frames}` are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gazex.schema import Visit
from gazex.tasks.example import Example, Frame, example_of
from gazex.tasks.finished import Finished, QuarterBox, finish_published
from gazex.tasks.formats import ParseError, clean_text, format_sequence, parse_sequence, whole_sentence
from gazex.tasks.sda import generator, shuffled

PROMPTS: Final[dict[str, str]] = {
    "fvp": (
        "<image>A radiologist said of this radiograph: '{sentence}' Find what the radiologist looked at for it: "
        "the visual clues, and one observation area over them all, each as a box with its centroid. Answer: visual "
        "clues : [(xmin,ymin)(xmax,ymax)(centroidx,centroidy),…] observation : [(xmin,ymin)(xmax,ymax)"
        "(centroidx,centroidy)]"
    ),
    "gtm_video": (
        "<video>These are {frames} frames of a radiologist's gaze over a radiograph, in the order of looking. <image>"
        "This is the radiograph. Report it as the radiologist would, led by where the gaze went."
    ),
    "gtm_image": "<image>Report this radiograph, reading it the way a radiologist does.",
    "gtm_sentence": (
        "<video>These frames show where a radiologist looked on this radiograph <image> before one sentence. Say what "
        "the radiologist said."
    ),
    "sda_global": (
        "<video>These are {frames} frames of a radiologist's gaze over a radiograph, shuffled. <image>This is the "
        "radiograph. First put the frames in the order in which they were looked at, then describe what was seen in "
        "each. Answer: <seq>n,n,…</seq><description>…</description>, where the first number is the frame that came "
        "first."
    ),
    "sda_sentence": (
        "<video>These are {frames} frames of a radiologist's gaze that led to '{sentence}', shuffled. Put them in the "
        "order in which they were looked at. Answer: <seq>n,n,…</seq>, where the first number is the frame that came "
        "first."
    ),
}
# "<seq>" in a prompt is text and no medium; only <image> and <video> are (see `gazex.tasks.messages`).

_PAIR = r"\(([0-9]{1,5}),([0-9]{1,5})\)"
_ITEM = re.compile(_PAIR * 3)
_ITEM_TEXT = r"(?:\([0-9]{1,5},[0-9]{1,5}\)){3}"
_SEEN = re.compile(rf"(?:visual clues : \[({_ITEM_TEXT}(?:,{_ITEM_TEXT})*)\] )?observation : \[({_ITEM_TEXT})\]")
_ORDERED = re.compile(r"(<seq>[^<>]*</seq>)<description>([^<>]+)</description>")


@dataclass(frozen=True)
class Place:
    """A box and its centroid, whole quarter-scale pixels."""

    box: tuple[int, int, int, int]
    centroid: tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """The published answer to "where": visual clues in the order of time, and one observation."""

    clues: tuple[Place, ...]
    observation: Place


def place_of(box: QuarterBox) -> Place:
    cx, cy = box.centroid
    return Place(box.box, (int(cx), int(cy)))


def _format_place(place: Place) -> str:
    (x0, y0, x1, y1), (cx, cy) = place.box, place.centroid
    return f"({x0},{y0})({x1},{y1})({cx},{cy})"


def format_seen(seen: Seen) -> str:
    clues = f"visual clues : [{','.join(_format_place(p) for p in seen.clues)}] " if seen.clues else ""
    return f"{clues}observation : [{_format_place(seen.observation)}]"


def parse_seen(text: str) -> Seen:
    match = _SEEN.fullmatch(text)
    if match is None:
        raise ParseError("The answer is not visual clues and one observation.")
    clues = tuple(_place(m.groups()) for m in _ITEM.finditer(match[1] or ""))
    last = _ITEM.fullmatch(match[2])
    assert last is not None
    return Seen(clues, _place(last.groups()))


def _place(values: Sequence[str]) -> Place:
    x0, y0, x1, y1, cx, cy = (int(v) for v in values)
    if not (x0 <= x1 and y0 <= y1):
        raise ParseError("A box has its corners in the wrong order.")
    return Place((x0, y0, x1, y1), (cx, cy))


def parse_ordered(text: str, frames: int) -> tuple[tuple[int, ...], str]:
    """The answer over a whole reading: the order of its frames, and the report."""
    match = _ORDERED.fullmatch(text)
    if match is None or not match[2].strip():
        raise ParseError("The answer is not an order with a description.")
    return parse_sequence(match[1], frames), match[2]


def _filled(prompt: str, **values: object) -> str:
    """Only `{sentence}` and `{frames}` are places: other braces are text."""
    return re.sub(r"\{(sentence|frames)\}", lambda m: str(values[m[1]]) if m[1] in values else m[0], prompt)


def _report(visit: Visit) -> str:
    return " ".join(said for text, _, _ in visit.sentences if (said := whole_sentence(text)))


def fvp(visit: Visit, *, finished: Finished | None = None, prompts: Mapping[str, str] = PROMPTS) -> list[Example]:
    """One example for each sentence with gaze on the image."""
    finished = finished or finish_published(visit)
    out = []
    for k, (text, _, _) in enumerate(visit.sentences):
        boxes = finished.quarters(k)
        whole = [place_of(b) for b in boxes if b.cluster < 0]
        if not whole or not whole_sentence(text):
            continue
        clues = tuple(place_of(b) for b in boxes if b.cluster >= 0)
        prompt = _filled(prompts["fvp"], sentence=clean_text(text))
        target = format_seen(Seen(clues, whole[0]))
        out.append(example_of(visit, "fvp", prompt, target, sentence=k, format="published"))
    return out


def gtm(visit: Visit, *, finished: Finished | None = None, prompts: Mapping[str, str] = PROMPTS) -> list[Example]:
    """Video + image → report, image → report, and each sentence from its own clip."""
    finished = finished or finish_published(visit)
    report = _report(visit)
    if not report:
        return []
    each = [[b.frame() for b in finished.quarters(k)] for k in range(len(visit.sentences))]
    frames = [frame for own in each for frame in own]
    out = []
    both = ("video", "image")
    if frames:
        prompt = _filled(prompts["gtm_video"], frames=len(frames))
        out.append(example_of(visit, "gtm", prompt, report, frames, media=both, format="published"))
    out.append(example_of(visit, "gtm", prompts["gtm_image"], report, format="published"))
    for k, own in enumerate(each):
        said = whole_sentence(visit.sentences[k][0])
        if own and said:
            prompt = _filled(prompts["gtm_sentence"], frames=len(own))
            out.append(example_of(visit, "gtm", prompt, said, own, media=both, sentence=k, format="published"))
    return out


def sda(
    visit: Visit, *, seed: int, finished: Finished | None = None, prompts: Mapping[str, str] = PROMPTS
) -> list[Example]:
    """The order of a reading's holistic frames with the report, and of each sentence's frames."""
    finished = finished or finish_published(visit)
    rng = generator(visit, seed)
    each = [finished.quarters(k) for k in range(len(visit.sentences))]
    order = sorted(range(len(each)), key=lambda k: visit.sentences[k][1])
    whole: list[Frame] = [b.frame() for k in order for b in each[k] if b.cluster < 0]
    report = _report(visit)
    out = []
    question = shuffled(whole, rng)
    if question is not None and report:
        shown, answer = question
        prompt = _filled(prompts["sda_global"], frames=len(shown))
        target = f"{format_sequence(answer)}<description>{report}</description>"
        out.append(example_of(visit, "sda", prompt, target, shown, media=("video", "image"), format="published"))
    for k, boxes in enumerate(each):
        question = shuffled([b.frame() for b in boxes], rng)
        if question is not None:
            shown, answer = question
            prompt = _filled(prompts["sda_sentence"], frames=len(shown), sentence=clean_text(visit.sentences[k][0]))
            out.append(example_of(visit, "sda", prompt, format_sequence(answer), shown, sentence=k, format="published"))
    return out
