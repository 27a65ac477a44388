"""A reading as a GazeTrack and its utterances hold it: what `boxes` and `foci` take, without a folder between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gazex.evidence.boxes import Gaze
from gazex.evidence.folder import Reading, Sentence

if TYPE_CHECKING:
    from capture.gaze.track import GazeTrack


def reading_of(track: GazeTrack, utterances: Sequence[Sentence]) -> Reading:
    """The reading that a REFLACX folder of this track would give, unrounded.

    Gaze beside the image stays in it: the published recipe counts it (see `boxes`).

    Parameters
    ----------
    track
        Gaze in image pixels; its `meta` tells the image's rows and columns.
    utterances
        (text, start, end) of each sentence, seconds of recording time, as `Utterance` has them.

    Returns
    -------
    Reading
        For `boxes(reading.gaze, reading.times, reading.rows, reading.columns)`.

    Raises
    ------
    ValueError
        A track without gaze on an image, or an utterance without a time, that ends before it begins, or no utterance.
    """
    gaze = Gaze(track.t, track.x, track.y, track.ppd_x, track.ppd_y)
    if not len(gaze.finite()):
        raise ValueError("This gaze track has no gaze: no sample has all of its time, place and pixels per degree.")
    if not utterances:
        raise ValueError("This reading has no utterance; a box belongs to a sentence.")
    for text, start, end in utterances:
        if not (np.isfinite([start, end]).all() and end >= start):
            raise ValueError(
                f"The utterance “{text[:40]}” runs from {start:g} to {end:g} s; its times must run forward."
            )
    sentences = [(text, float(start), float(end)) for text, start, end in utterances]
    return Reading(gaze, sentences, int(track.meta["rows"]), int(track.meta["columns"]))
