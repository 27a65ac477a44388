"""Releases of data, runs on them, and the models they made."""

from .job import Job
from .leased import Leased
from .release import DatasetRelease, ReleaseRead
from .run import TrainingRun, TrainingStep
from .version import ModelVersion, Promotion

__all__ = [
    "DatasetRelease",
    "Job",
    "Leased",
    "ModelVersion",
    "Promotion",
    "ReleaseRead",
    "TrainingRun",
    "TrainingStep",
]
