from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from analysis.services.analysing import analyse_study
from analysis.services.reporting import sentences
from study.models import Study
from study.services.errors import Refused


class Command(BaseCommand):
    help = "Run the locked analysis plan of an unblinded comparison and store the result."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="The study's short name, as in its address.")
        parser.add_argument("--user", help="Who asks for it (a username), for the audit trail.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            study = Study.objects.get(slug=options["slug"])
        except Study.DoesNotExist:
            raise CommandError(f"There is no study called {options['slug']!r}.") from None
        actor = None
        if options["user"]:
            actor = get_user_model().objects.filter(username=options["user"]).first()
            if actor is None:
                raise CommandError(f"There is no user called {options['user']!r}.")
        try:
            result = analyse_study(
                study=study,
                actor=actor,
                progress=lambda step, done, total: self.stderr.write(f"[{done}/{total}] {step}"),
            )
        except Refused as refused:
            raise CommandError(refused.sentence) from None
        for sentence in sentences(result.numbers):
            self.stdout.write(sentence)
        self.stdout.write(f"Result {result.pk}")
