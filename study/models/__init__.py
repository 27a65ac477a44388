"""The entities of the study engine, one a file."""

from .assignment import Assignment
from .assistance import AssistanceOutput, AssistanceReveal
from .audit import AuditEntry
from .base import InsertOnly, InsertOnlyError, UuidModel
from .case import Case
from .enrolment import Enrolment
from .image import Image, blob_path
from .patient import Patient
from .protocol import Arm, Period, ProtocolVersion, StudyCase
from .read import Read, ReadEvent
from .reference import ReferenceFinding, ReferenceStandard
from .response import Mark, Response, Stage, Transcript
from .study import Membership, Study
from .user import User

__all__ = [
    "Arm",
    "Assignment",
    "AssistanceOutput",
    "AssistanceReveal",
    "AuditEntry",
    "Case",
    "Enrolment",
    "Image",
    "InsertOnly",
    "InsertOnlyError",
    "Mark",
    "Membership",
    "Patient",
    "Period",
    "ProtocolVersion",
    "Read",
    "ReadEvent",
    "ReferenceFinding",
    "ReferenceStandard",
    "Response",
    "Stage",
    "Study",
    "StudyCase",
    "Transcript",
    "User",
    "UuidModel",
    "blob_path",
]
