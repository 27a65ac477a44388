"""From gaze and sentences to maps, clusters, boxes and fixations. No torch."""

from gazex.evidence.clusters import GazeCluster, clusters_of, gaze_map, observation_box, sentence_map
from gazex.evidence.fixations import Point, condense, fixations
from gazex.evidence.windows import gaze_in, window_of

__all__ = [
    "GazeCluster",
    "Point",
    "clusters_of",
    "condense",
    "fixations",
    "gaze_in",
    "gaze_map",
    "observation_box",
    "sentence_map",
    "window_of",
]
