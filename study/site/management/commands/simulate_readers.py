"""`manage.py simulate_readers STUDY`: simulated readers read a study over its pages and sockets."""

from __future__ import annotations

import secrets
import threading
import time
from collections import defaultdict
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from capture.agent import pairing
from capture.models import Recording
from study.models import Assignment, Image, ReferenceFinding, Study, User
from study.services import studies
from study.services.errors import Refused
from study.site.demo import simulated_enrolments
from study.site.simulated import SimulatedReader, SimulationError, run_readers
from study.site.simulated_gaze import SimulatedGaze

#: Longest wait for the workers before a study is analysed without the gaze that they have not processed.
GAZE_SECONDS = 600


class Command(BaseCommand):
    help = "Let a study's simulated readers read it through the running site's own pages and sockets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's slug, e.g. gazex-simulated")
        parser.add_argument("--url", default=None, help="where the site answers (default: the running `make run`)")
        parser.add_argument("--limit", type=int, default=None, help="reads per reader (default: all)")
        parser.add_argument("--speed", type=float, default=400.0, help="how many times faster than life they read")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument(
            "--gaze", type=int, metavar="N", default=None,
            help="how many of the readers consent to the recording of their gaze, where the study leaves it to them "
            "(default: all)",
        )  # fmt: skip
        parser.add_argument("--finish", action="store_true", help="then close, unblind and analyse the study")

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(slug=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"There is no study {options['study']!r}; there are: {known}.")
        enrolments = simulated_enrolments(study)
        if not enrolments:
            raise CommandError(f"{study} has no simulated readers; their user names begin with 'simulated-'.")
        url = options["url"] or _running_site()
        if options["speed"] <= 0:
            raise CommandError(f"--speed is {options['speed']}; it must be above 0.")
        truth = _truth(study)
        rng = np.random.default_rng(options["seed"])
        difficulty = {image: float(rng.normal(0.0, 0.5)) for image in sorted(truth)}
        # A station of their own, paired as any other; what ties it to the site lies beside this folder.
        simulated = settings.GAZEROOM_DATA / "run" / "simulated" / "spool"
        call_command("pair_here", name="simulated station", server=url, spool=simulated)
        gaze = SimulatedGaze(pairing.load(pairing.file_beside(simulated)))
        readers, users = [], []
        for number, enrolment in enumerate(enrolments):
            password = secrets.token_urlsafe(18)
            enrolment.user.set_password(password)
            enrolment.user.save(update_fields=["password"])
            users.append(enrolment.user)
            readers.append(
                SimulatedReader(
                    url=url,
                    username=enrolment.user.username,
                    password=password,
                    truth=truth,
                    difficulty=difficulty,
                    seed=options["seed"] * 1000 + number,
                    speed=options["speed"],
                    gaze=gaze,
                    consents=options["gaze"] is None or number < options["gaze"],
                )
            )
        total = _outstanding(study, users, options["limit"])
        progress = _Progress(self, total)
        try:
            done = run_readers(readers, limit=options["limit"], on_read=progress.step)
        except SimulationError as error:
            raise CommandError(str(error)) from error
        finally:
            for user in users:
                user.set_unusable_password()
                user.save(update_fields=["password"])
        self.stdout.write(f"{len(readers)} simulated readers submitted {done} reads of {study}.")
        if options["finish"]:
            self._finish(study)

    def _finish(self, study: Study) -> None:
        from analysis.services.analysing import analyse_study

        actor = study.created_by
        try:
            study.refresh_from_db()
            if study.state == Study.State.OPEN:
                study = studies.close_study(study=study, actor=actor)
            self._wait_for_gaze(study)
            if study.state == Study.State.CLOSED:
                study = studies.unblind_study(study=study, actor=actor)
            analyse_study(study=study, actor=actor)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(f"{study} is closed, unblinded and analysed.")

    def _wait_for_gaze(self, study: Study) -> None:
        """Until the workers have processed what was recorded: the analysis is of all gaze, or it says what it lacks."""
        waiting = Recording.objects.filter(read__assignment__enrolment__study=study).exclude(
            state__in=[Recording.State.PROCESSED, Recording.State.FAILED]
        )
        deadline = time.monotonic() + GAZE_SECONDS
        while count := waiting.count():
            if time.monotonic() > deadline:
                self.stderr.write(f"{count} recordings are not processed yet; the analysis goes on without their gaze.")
                return
            time.sleep(0.5)


class _Progress:
    def __init__(self, command: BaseCommand, total: int) -> None:
        self.command, self.total, self.done = command, total, 0
        self.lock = threading.Lock()

    def step(self) -> None:
        with self.lock:
            self.done += 1
            if self.done % 50 == 0 or self.done == self.total:
                self.command.stdout.write(f"  {self.done} of {self.total} reads")
                self.command.stdout.flush()


def _running_site() -> str:
    ready = settings.GAZEROOM_DATA / "run" / "ready"
    if not ready.exists():
        raise CommandError("The site is not running; start it with `make run`, or name it with --url.")
    return ready.read_text().strip().rstrip("/")


def _truth(study: Study) -> dict[str, dict[str, tuple[str, list[float] | None]]]:
    """What is there, by image: the simulation's input. Nothing of it reaches a reader's page."""
    cases = set(study.protocols.values_list("study_cases__case", flat=True))
    by_case: defaultdict[UUID, dict[str, tuple[str, list[float] | None]]] = defaultdict(dict)
    for row in ReferenceFinding.objects.filter(standard__case__in=cases).select_related("standard"):
        by_case[row.standard.case_id][row.finding] = (row.side, row.box)
    return {str(image): by_case[case] for image, case in Image.objects.filter(case__in=cases).values_list("pk", "case")}


def _outstanding(study: Study, users: list[User], limit: int | None) -> int:
    counts = [
        Assignment.objects.filter(enrolment__study=study, enrolment__user=user)
        .exclude(read__state__in=["submitted", "invalidated"])
        .count()
        for user in users
    ]
    return sum(count if limit is None else min(count, limit) for count in counts)
