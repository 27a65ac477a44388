"""From gaze and sentences to maps, clusters, boxes and fixations. No torch.

`boxes` is the published recipe to the pixel, `folder` and `track` give what it takes, `keyframes` shows it; `clusters`
and `fixations` are what our own tasks make of a Visit. What reads Visits is imported when it is first used, so that
boxes do not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gazex.evidence.fixations import Point, condense, fixations

if TYPE_CHECKING:
    from gazex.evidence.clusters import GazeCluster, clusters_of, gaze_map, observation_box, sentence_map
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

_HOME = {
    **dict.fromkeys(("GazeCluster", "clusters_of", "gaze_map", "observation_box", "sentence_map"), "clusters"),
    **dict.fromkeys(("gaze_in", "window_of"), "windows"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
