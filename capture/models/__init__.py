"""The entities of recording, one a file."""

from .calibration import Calibration
from .drift import DriftCheck
from .gap import Gap
from .imported import ImportedGaze
from .measures import GazeMeasures
from .recording import DeliveryPermit, Recording, RecordingToken
from .segment import Segment
from .station import Pairing, PairingCode, Revocation, Station
from .track import GazeTrack, Utterance

__all__ = [
    "Calibration",
    "DeliveryPermit",
    "DriftCheck",
    "Gap",
    "GazeMeasures",
    "GazeTrack",
    "ImportedGaze",
    "Pairing",
    "PairingCode",
    "Recording",
    "RecordingToken",
    "Revocation",
    "Segment",
    "Station",
    "Utterance",
]
