"""Opening a stored GazeTrack."""

from __future__ import annotations

from capture.gaze import track as library
from capture.models import GazeTrack

from .store import sha256_of


def load(track: GazeTrack) -> library.GazeTrack:
    """The track's arrays. Raises ValueError when the file is missing or is not the one that was recorded."""
    if not track.file.exists() or sha256_of(track.file) != track.sha256:
        raise ValueError(f"The file of gaze track {track.pk} is missing or changed; process its recording again.")
    return library.GazeTrack.load(track.file)
