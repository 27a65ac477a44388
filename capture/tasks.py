"""Celery: thin. The database row says what is to be done; a message only wakes a worker."""

from __future__ import annotations

from celery import shared_task

from capture.models import GazeTrack
from capture.services import measuring, processing


@shared_task(soft_time_limit=300, time_limit=330)
def process_recording(*, recording_id: str) -> None:
    """Make the GazeTrack of a submitted read's recording, if it is due, and measure it; again it changes nothing."""
    track = processing.process(recording_id=recording_id)
    if track is not None:
        measuring.measure_if_possible(track=track)


@shared_task(soft_time_limit=60, time_limit=75)
def measure_track(*, track_id: int) -> None:
    """Measure a track that was made before its measures were, or under other code."""
    measuring.measure_if_possible(track=GazeTrack.objects.get(pk=track_id))


@shared_task(soft_time_limit=30, time_limit=40)
def reap() -> None:
    """Start what nobody woke: a lost message, or a station that never sealed within ten minutes of submission."""
    processing.reap()
