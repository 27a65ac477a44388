"""A simulated radiologist: where the eyes rest on a radiograph, and what is said when.

The scanpath follows a fixed inspection protocol (pleura and apices, lungs for nodules, lungs for airspace disease,
heart, costophrenic angles). What is there holds the eyes: most fixations of a topic land on its finding where it is.
Each topic ends in one sentence, spoken over its last half, as readers speak after they look (an eye-voice span of about
a second). Fixation durations are log-normal with a median near 230 ms (Holmqvist et al., Eye Tracking, 2011, ch. 11).
What is conspicuous but means nothing (an electrode, a calcified spot) is looked at first and never spoken of: the gaze
holds what the report does not.

Numpy only: neither Django nor torch, and no tracker; `samples.py` turns a scanpath into tracker samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


class Found(Protocol):
    """A finding as the reader sees it: CheXbert name, patient's side, box `[x0, y0, x1, y1]` in image pixels."""

    @property
    def finding(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def box(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Scanpath:
    """Fixations in the order they were made, and the sentences spoken meanwhile.

    Attributes
    ----------
    x, y
        Fixation centres, image pixels, shape [N].
    onset_s, duration_s
        Start of each fixation in seconds from the opening of the case, and how long it lasted, shape [N].
    sentences
        `(text, t0, t1)`: a sentence with the times of its first word's start and last word's end, same clock.
    topic
        For each fixation the index of the sentence it led to, shape [N].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    onset_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    sentences: list[tuple[str, float, float]] = field(default_factory=list)
    topic: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Habit:
    """How one reader differs from another.

    Attributes
    ----------
    focus
        Share of a topic's fixations that land on its finding, after the first look.
    tempo_s
        Median duration of a fixation, seconds.
    left_first
        Whether the regions of a topic are visited from the other side.
    dwell
        Time for a topic whose finding is there, as a multiple of the time for one where nothing is.
    """

    focus: float = 0.8
    tempo_s: float = 0.23
    left_first: bool = False
    dwell: float = 4.0


LURE_DWELL: Final = 2.0
"""Time a lure holds the eyes, as a multiple of the time for a topic where nothing is found."""

PROTOCOL: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Pneumothorax", ("right_apex", "left_apex", "right_upper_zone", "left_upper_zone")),
    ("Lung Lesion", ("right_upper_zone", "right_middle_zone", "left_middle_zone", "left_upper_zone")),
    ("Consolidation", ("right_middle_zone", "right_lower_zone", "left_lower_zone", "left_hilum")),
    ("Cardiomegaly", ("heart", "mediastinum", "heart")),
    ("Pleural Effusion", ("right_costophrenic", "left_costophrenic")),
)
"""Finding asked for at each step, and the regions visited for it, in order."""

_PRESENT: Final[dict[str, tuple[str, ...]]] = {
    "Pneumothorax": (
        "There is a {side} pneumothorax.",
        "{Side} apical pneumothorax.",
        "There is a small {side} pneumothorax.",
    ),
    "Lung Lesion": (
        "There is a nodule in the {side} lung.",
        "{Side} lung nodule.",
        "There is a {side} pulmonary nodule.",
    ),
    "Consolidation": (
        "There is consolidation in the {side} lung.",
        "{Side} lung consolidation.",
        "There is a {side} consolidation with air bronchograms.",
    ),
    "Cardiomegaly": ("The heart is enlarged.", "There is cardiomegaly.", "The cardiac silhouette is enlarged."),
    "Pleural Effusion": (
        "There is a {side} pleural effusion.",
        "{Side} pleural effusion.",
        "There is a small {side} pleural effusion.",
    ),
}
_ABSENT: Final[dict[str, tuple[str, ...]]] = {
    "Pneumothorax": ("No pneumothorax.", "There is no pneumothorax.", "No pneumothorax is seen."),
    "Lung Lesion": ("No lung nodule.", "There is no pulmonary nodule.", "No nodule or mass is seen."),
    "Consolidation": ("No consolidation.", "There is no consolidation.", "No focal consolidation is seen."),
    "Cardiomegaly": ("The heart size is normal.", "The cardiac silhouette is normal.", "No cardiomegaly."),
    "Pleural Effusion": ("No pleural effusion.", "There is no pleural effusion.", "The costophrenic angles are sharp."),
}


def phrase(finding: str, side: str, *, present: bool, rng: np.random.Generator | None = None) -> str:
    """One report sentence that affirms or denies a finding.

    Parameters
    ----------
    finding
        One of the five findings the simulated reader looks for.
    side
        "left", "right", "bilateral" or "" (patient's side); unused where absent.
    present
        Affirm or deny.
    rng
        Chooses among the wordings; without it the first wording is used.

    Raises
    ------
    ValueError
        The simulated reader has no wording for this finding.
    """
    table = _PRESENT if present else _ABSENT
    if finding not in table:
        raise ValueError(f"The simulated reader has no wording for “{finding}”; it knows {', '.join(table)}.")
    wordings = table[finding]
    template = wordings[0] if rng is None else wordings[int(rng.integers(len(wordings)))]
    text = template.format(side=side, Side=side.capitalize()).strip()
    return (text[0].upper() + text[1:]).replace("  ", " ")


def inspect(
    regions: Mapping[str, Sequence[float]],
    findings: Sequence[Found],
    *,
    rng: np.random.Generator,
    duration_s: float = 20.0,
    report: Sequence[str] | None = None,
    lures: Sequence[Sequence[float]] = (),
    habit: Habit | None = None,
) -> Scanpath:
    """Read one radiograph.

    Parameters
    ----------
    regions
        Anatomical regions of this image, name → box `[x0, y0, x1, y1]` in image pixels; those of `PROTOCOL` are used
        where present. At least one is needed.
    findings
        What the reader finds. Pass the truth for a perfect reader, a subset for one who misses something.
    rng
        The only source of chance: the same generator state gives the same scanpath.
    duration_s
        Length of the read in seconds, at least 2.
    report
        Sentences to say instead of the reader's own wording, one for each step of `PROTOCOL`.
    lures
        Boxes of what is conspicuous without being a finding: looked at before the first step, in this order.
    habit
        The reader's ways; default `Habit()`.

    Returns
    -------
    Scanpath
        Fixations within the image's regions and findings; five timed sentences.

    Raises
    ------
    ValueError
        No regions, a read shorter than 2 s, or a report that is not one sentence a step.
    """
    if not regions:
        raise ValueError("There are no regions to inspect; pass the image's anatomical regions as name → box.")
    if not duration_s >= 2.0:
        raise ValueError(f"A read of {duration_s} s is too short to simulate; give at least 2 s.")
    if report is not None and len(report) != len(PROTOCOL):
        raise ValueError(f"The report has {len(report)} sentences; the simulated reader says {len(PROTOCOL)}.")

    habit = habit or Habit()
    found = {name: [f for f in findings if f.finding == name] for name, _ in PROTOCOL}
    weights = np.array([LURE_DWELL] * len(lures) + [habit.dwell if found[name] else 1.0 for name, _ in PROTOCOL])
    weights *= rng.uniform(0.85, 1.15, len(weights))
    all_ends = np.cumsum(weights) / weights.sum() * duration_s
    all_starts = np.concatenate([[0.0], all_ends[:-1]])
    starts, ends = all_starts[len(lures) :], all_ends[len(lures) :]

    xs: list[float] = []
    ys: list[float] = []
    onsets: list[float] = []
    durations: list[float] = []
    topics: list[int] = []
    sentences: list[tuple[str, float, float]] = []

    def look(start: float, end: float, topic: int, boxes: Sequence[Sequence[float]], targets: Sequence[Found]) -> None:
        clock, count = start, 0
        while True:
            length = float(np.clip(rng.lognormal(np.log(habit.tempo_s), 0.35), 0.09, 0.9))
            gap = float(rng.uniform(0.025, 0.05))  # the saccade to the next fixation
            if clock + length > end:
                break
            # The first look is a survey; then a finding holds most fixations.
            if targets and count > 0 and rng.random() < habit.focus:
                box, spread = targets[int(rng.integers(len(targets)))].box, 0.20
                length = min(length * 1.4, end - clock)
            else:
                box, spread = boxes[count % len(boxes)], 0.22
            x, y = _within(box, spread, rng)
            xs.append(x)
            ys.append(y)
            onsets.append(float(clock))
            durations.append(length)
            topics.append(topic)
            clock += length + gap
            count += 1

    for k, lure in enumerate(lures):
        look(all_starts[k], all_ends[k], 0, [lure], [])
    for step, (name, visited) in enumerate(PROTOCOL):
        boxes = [regions[r] for r in visited if r in regions] or list(regions.values())
        targets = found[name]
        look(starts[step], ends[step], step, boxes[::-1] if habit.left_first else boxes, targets)
        span = ends[step] - starts[step]
        side = _side(targets)
        text = report[step] if report is not None else phrase(name, side, present=bool(targets), rng=rng)
        sentences.append((text, float(starts[step] + 0.5 * span), float(starts[step] + 0.97 * span)))
    return Scanpath(
        np.array(xs), np.array(ys), np.array(onsets), np.array(durations), sentences, np.array(topics, dtype=np.int64)
    )


def _within(box: Sequence[float], spread: float, rng: np.random.Generator) -> tuple[float, float]:
    """A point near a box's middle: normal with SD `spread` of its extent, cut at its edges."""
    x0, y0, x1, y1 = box
    x = np.clip(rng.normal((x0 + x1) / 2, spread * (x1 - x0)), x0, x1)
    y = np.clip(rng.normal((y0 + y1) / 2, spread * (y1 - y0)), y0, y1)
    return float(x), float(y)


def _side(targets: Sequence[Found]) -> str:
    sides = {t.side for t in targets if t.side}
    if len(sides) > 1:
        return "bilateral"
    return next(iter(sides), "")
