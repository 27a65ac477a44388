from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from study.models import ProtocolVersion
from study.services.locking import verify_plans


class Command(BaseCommand):
    help = "Check every locked protocol and its plan against the hashes made when it was locked."

    def handle(self, *args: Any, **options: Any) -> None:
        problems = verify_plans()
        if problems:
            raise CommandError("\n".join(problems))
        count = ProtocolVersion.objects.filter(locked_at__isnull=False).count()
        if options["verbosity"]:
            self.stdout.write(f"{count} locked protocol{'s' if count != 1 else ''}, each as it was locked.")
