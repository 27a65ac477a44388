"""SDA, scan-order: shuffled key frames → the order in which they were looked at.

The answer is the inverse of the shuffle: its n-th number names the shown frame that came n-th. (The published code
gives the permutation itself where its prompt asks for the inverse.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gazex.evidence import GazeCluster
from gazex.schema import Visit
from gazex.tasks.example import Example, Frame, example_of
from gazex.tasks.finished import Finished, finish
from gazex.tasks.formats import format_sequence


def prompt(frames: int) -> str:
    return f"{frames} shuffled key frames. Viewing order?"


def viewing_order(shuffle: np.ndarray) -> list[int]:
    """Answer to a shuffle: `shown[k] = frames[shuffle[k]]` → 1-based places of frames 0, 1, … among those shown."""
    return [int(k) + 1 for k in np.argsort(shuffle)]


def generator(visit: Visit, seed: int) -> np.random.Generator:
    """The shuffles of a visit follow from the seed and the visit alone."""
    return np.random.default_rng(np.random.SeedSequence([seed, *visit.id.encode()]))


def shuffled(frames: Sequence[Frame], rng: np.random.Generator) -> tuple[tuple[Frame, ...], list[int]] | None:
    """Key frames in random order, and the answer; None where fewer than two differ.

    A frame that equals an earlier one is left out: the two would have no order.
    """
    frames = list(dict.fromkeys(frames))
    if len(frames) < 2:
        return None
    shuffle = rng.permutation(len(frames))
    return tuple(frames[int(k)] for k in shuffle), viewing_order(shuffle)


def whole_reading(clusters: Sequence[Sequence[GazeCluster]]) -> list[Frame]:
    """One key frame a sentence, that of its longest look, in the order of time."""
    longest = sorted((max(c, key=lambda g: g.share) for c in clusters if c), key=lambda g: g.time_s)
    return [g.box for g in longest]


def examples(visit: Visit, *, seed: int, finished: Finished | None = None) -> list[Example]:
    """One example over the whole reading (one frame a sentence) and one for each sentence with several clusters.

    The shuffles follow from `seed` and the visit alone.
    """
    finished = finished or finish(visit)
    each = [finished.of(k) for k in range(len(visit.sentences))]
    rng = generator(visit, seed)
    out = []
    for sentence, frames in [(-1, whole_reading(each)), *((k, [g.box for g in c]) for k, c in enumerate(each))]:
        question = shuffled(frames, rng)
        if question is not None:
            shown, order = question
            out.append(example_of(visit, "sda", prompt(len(shown)), format_sequence(order), shown, sentence=sentence))
    return out
