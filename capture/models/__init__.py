"""The entities of recording, one a file."""

from .calibration import Calibration
from .gap import Gap
from .recording import Recording, RecordingToken
from .segment import Segment
from .station import Station
from .track import GazeTrack, Utterance

__all__ = [
    "Calibration",
    "Gap",
    "GazeTrack",
    "Recording",
    "RecordingToken",
    "Segment",
    "Station",
    "Utterance",
]
