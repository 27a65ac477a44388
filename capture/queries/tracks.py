"""The GazeTracks of reads."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Max, QuerySet

from capture.models import GazeTrack
from study.models import Read


def processed_tracks(reads: QuerySet[Read] | Iterable[Read]) -> QuerySet[GazeTrack]:
    """The latest track of each of the reads that has one."""
    latest = GazeTrack.objects.filter(recording__read__in=reads).values("recording").annotate(last=Max("id"))
    return GazeTrack.objects.filter(id__in=latest.values("last")).select_related("recording__read")
