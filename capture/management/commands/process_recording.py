from __future__ import annotations

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from capture.models import Recording
from capture.services import processing


class Command(BaseCommand):
    help = "Make the gaze track of a recording again, for instance after its damaged file was restored from a copy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recording", nargs="?", help="the recording's id")
        parser.add_argument("--all-failed", action="store_true", help="every recording that could not be processed")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = []
        for recording in _chosen(options["recording"], options["all_failed"]):
            track = processing.process(recording_id=recording.pk)
            recording.refresh_from_db()
            if track is not None:
                self.stdout.write(f"{recording.pk}: processed, {track.samples} samples, {track.fixations} fixations.")
            elif recording.state == Recording.State.FAILED:
                failed.append(f"{recording.pk}: {recording.failure}")
            else:
                failed.append(f"{recording.pk}: its read is not submitted, or its station is still uploading.")
        if failed:
            raise CommandError("\n".join(failed))


def _chosen(name: str | None, all_failed: bool) -> list[Recording]:
    if name and all_failed:
        raise CommandError("Name a recording or say --all-failed, not both.")
    if all_failed:
        return list(Recording.objects.filter(state=Recording.State.FAILED).order_by("created_at"))
    if not name:
        raise CommandError("Name a recording, or say --all-failed.")
    try:
        pk = UUID(name)
    except ValueError:
        raise CommandError(f"{name!r} is no recording's id; its page and its folder show it.") from None
    recording = Recording.objects.filter(pk=pk).first()
    if recording is None:
        raise CommandError(f"There is no recording {pk}.")
    return [recording]
