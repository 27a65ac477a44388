"""`manage.py rebuild_release NAME`: make a release's files again from the raw recordings, and check them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from study.services.errors import Refused
from training.models import DatasetRelease
from training.services.releasing import rebuild_release


class Command(BaseCommand):
    help = "Make a release's files again from the raw inputs and check them against its manifest."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the release's name")

    def handle(self, *args: Any, **options: Any) -> None:
        release = DatasetRelease.objects.filter(name=options["name"]).first()
        if release is None:
            known = ", ".join(DatasetRelease.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no release {options['name']!r}; there are: {known}.")
        try:
            rebuild_release(release=release)
        except Refused as refused:
            raise CommandError(refused.sentence) from refused
        self.stdout.write(f"{release} is rebuilt: {len(release.manifest['files'])} files, each with the hash it had.")
