"""SDA, scan-order: shuffled key frames → the order in which they were looked at.

The answer is the inverse of the shuffle: its n-th number names the shown frame that came n-th. (The published code
gives the permutation itself where its prompt asks for the inverse.)
"""

from __future__ import annotations

import numpy as np

from gazex.evidence import GazeCluster, clusters_of
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.formats import format_sequence


def prompt(frames: int) -> str:
    return f"{frames} shuffled key frames. Viewing order?"


def viewing_order(shuffle: np.ndarray) -> list[int]:
    """Answer to a shuffle: `shown[k] = frames[shuffle[k]]` → 1-based places of frames 0, 1, … among those shown."""
    return [int(k) + 1 for k in np.argsort(shuffle)]


def _shuffled(visit: Visit, clusters: list[GazeCluster], rng: np.random.Generator) -> list[Example]:
    if len(clusters) < 2:  # one frame has no order
        return []
    shuffle = rng.permutation(len(clusters))
    shown = tuple(clusters[int(k)].box for k in shuffle)
    return [example_of(visit, "sda", prompt(len(shown)), format_sequence(viewing_order(shuffle)), shown)]


def examples(visit: Visit, *, seed: int) -> list[Example]:
    """One example over the whole reading (one frame a sentence) and one for each sentence with several clusters.

    The shuffles follow from `seed` and the visit alone.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, *visit.id.encode()]))
    each = [clusters_of(visit, k) for k in range(len(visit.sentences))]
    whole = sorted((max(c, key=lambda g: g.share) for c in each if c), key=lambda g: g.time_s)
    out = _shuffled(visit, whole, rng)
    for clusters in each:
        out += _shuffled(visit, clusters, rng)
    return out
