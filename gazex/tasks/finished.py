"""What the gaze of a visit came to, worked out once: every task builds its examples from this.

Clusters in image pixels are what our own prompts are made of; quarter-scale boxes (`gazex.evidence.boxes`) are what the
published ones hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gazex.evidence import GazeCluster, clusters_of
from gazex.evidence.boxes import HOLISTIC, QUARTER, Gaze, foci
from gazex.schema import Visit
from gazex.tasks.example import Frame


@dataclass(frozen=True)
class QuarterBox:
    """A box of the published recipe, quarter-scale pixels: first and last pixel inside, and the centroid.

    `cluster` counts from 0 in the order of time; −1 is the holistic box of the sentence.
    """

    cluster: int
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]

    def frame(self) -> Frame:
        """The same box in pixels of the image."""
        x0, y0, x1, y1 = (float(v * QUARTER) for v in self.box)
        return x0, y0, x1 + QUARTER - 1, y1 + QUARTER - 1


@dataclass(frozen=True)
class Finished:
    """Of each sentence of a visit, in the visit's order: its clusters, its quarter-scale boxes.

    Either is None where nobody asked for it.
    """

    clusters: tuple[tuple[GazeCluster, ...], ...] | None = None
    quarter: tuple[tuple[QuarterBox, ...], ...] | None = None

    def of(self, sentence: int) -> tuple[GazeCluster, ...]:
        if self.clusters is None:
            raise ValueError("These boxes hold no clusters in image pixels; make them with finish(visit).")
        return self.clusters[sentence]

    def quarters(self, sentence: int) -> tuple[QuarterBox, ...]:
        if self.quarter is None:
            raise ValueError("These boxes hold none at a quarter of the scale; make them with finish_published(visit).")
        return self.quarter[sentence]


def finish(visit: Visit) -> Finished:
    """Clusters of every sentence, image pixels: for our own prompts."""
    return Finished(tuple(tuple(clusters_of(visit, k)) for k in range(len(visit.sentences))))


def samples_of(visit: Visit) -> Gaze:
    """A visit's gaze with the pixels per degree of each sample, or of the whole visit where that is all there is."""
    n = len(visit.t_s)
    ppd = visit.sample_ppd if visit.sample_ppd is not None else np.tile([visit.ppd_x, visit.ppd_y], (n, 1))
    return Gaze(visit.t_s, visit.x, visit.y, ppd[:, 0], ppd[:, 1])


def finish_published(visit: Visit) -> Finished:
    """Boxes of every sentence by the published recipe, a quarter of the scale: for the published prompts."""
    gaze = samples_of(visit).finite()
    quarter = []
    for _, start, end in visit.sentences:
        found = foci(gaze, start, end, visit.rows, visit.columns)
        found.sort(key=lambda f: (f.cluster == HOLISTIC, f.cluster))
        quarter.append(tuple(QuarterBox(f.cluster, f.box, f.centroid) for f in found))
    return Finished(quarter=tuple(quarter))
