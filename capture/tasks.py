"""Celery: thin. The database row says what is to be done; a message only wakes a worker."""

from __future__ import annotations

from celery import shared_task

from capture.services import processing


@shared_task(soft_time_limit=300, time_limit=330)
def process_recording(*, recording_id: str) -> None:
    """Make the GazeTrack of a submitted read's recording, if it is due; running it again changes nothing."""
    processing.process(recording_id=recording_id)


@shared_task(soft_time_limit=30, time_limit=40)
def reap() -> None:
    """Start what nobody woke: a lost message, or a station that never sealed within ten minutes of submission."""
    processing.reap()
