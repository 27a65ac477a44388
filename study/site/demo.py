"""The demo site: cases, people and four studies, made through the services that the pages use.

- a *collection*, open: unassisted reads with gaze, by hand
- a *collection* read by simulated readers, so that there is gaze to learn from
- a *comparison*, open, for reading by hand
- a *comparison* without washout, read to the end by simulated readers, closed, unblinded and analysed
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import transaction

from gazex.findings import PHANTOM_FINDINGS
from study.models import Case, Enrolment, Membership, Study, User
from study.site.supervisor import write_private

Say = Callable[[str], None]

COLLECTION, COLLECTED, BY_HAND, SIMULATED = (
    "gaze-collection",
    "gaze-collection-simulated",
    "gazex-crossover",
    "gazex-simulated",
)
PEOPLE = {
    "reader": ("Robin", "Reader"),
    "researcher": ("Riley", "Researcher"),
    "coordinator": ("Casey", "Coordinator"),
}
ARMS = [
    {"key": "unassisted", "name": "Unassisted", "assistance": "none"},
    {"key": "gazex", "name": "With GazeX", "assistance": "concurrent"},
]


@dataclass(frozen=True)
class Size:
    """How large a demo is. Phantom seeds differ from those GazeX was trained on."""

    collection_cases: int
    collected_cases: int
    by_hand_cases: int
    simulated_cases: int
    collectors: int
    simulated_readers: int
    #: How many of them consent to the recording of their gaze.
    recorded_readers: int
    washout_days: int
    speed: float

    @property
    def cases(self) -> int:
        return self.collection_cases + self.collected_cases + self.by_hand_cases + self.simulated_cases


SIZES = {
    "full": Size(12, 6, 12, 40, collectors=2, simulated_readers=6, recorded_readers=2, washout_days=28, speed=60.0),
    "small": Size(4, 1, 2, 10, collectors=1, simulated_readers=3, recorded_readers=2, washout_days=0, speed=1000.0),
}


@dataclass(frozen=True)
class Plan:
    """One study of the demo."""

    slug: str
    name: str
    kind: Any
    cases: int
    readers: list[User]
    gaze: str
    arms: list[dict[str, str]]
    washout_days: int = 0
    simulated: bool = False


class Demo:
    """Builds what is missing and goes on where an earlier start was stopped."""

    def __init__(self, data: Path, *, size: str = "full", seed: int = 2026) -> None:
        self.data = data
        self.size = SIZES[size]
        self.seed = seed
        self.logins = data / "demo-logins.json"

    def build(self, *, say: Say) -> None:
        """People, cases, the base model, and the studies. Each step is skipped where it is done."""
        people = self._people()
        if not Study.objects.filter(slug=SIMULATED).exclude(state=Study.State.DRAFT).exists():
            say("Building the demo: drawing phantoms …")
            self._cases()
            say("Building the demo: registering GazeX …")
            model = self._base_model()
            say("Building the demo: computing GazeX's outputs and opening the studies …")
            self._studies(people, model)

    def read(self, url: str, *, say: Say) -> None:
        """Let the simulated readers read over HTTP, then close, unblind and analyse their comparison."""
        if (self.data / "demo-read").exists():
            return
        say("Simulated readers are reading …")
        call_command("simulate_readers", COLLECTED, url=url, speed=self.size.speed, seed=self.seed)
        call_command(
            "simulate_readers",
            SIMULATED,
            url=url,
            speed=self.size.speed,
            seed=self.seed,
            gaze=self.size.recorded_readers,
            finish=True,
        )
        (self.data / "demo-read").touch()

    def logins_text(self) -> str:
        passwords = json.loads(self.logins.read_text())
        width = max(map(len, passwords))
        return "\n".join(f"  {name:<{width}}  {passwords[name]}" for name in PEOPLE)

    def _people(self) -> dict[str, User]:
        if not self.logins.exists():
            passwords = {name: secrets.token_urlsafe(9) for name in PEOPLE}
            write_private(self.logins, json.dumps(passwords))
        passwords = json.loads(self.logins.read_text())
        people = {}
        for name, (first, last) in PEOPLE.items():
            user, made = User.objects.get_or_create(username=name, defaults={"first_name": first, "last_name": last})
            if made:
                user.set_password(passwords[name])
                user.save()
            people[name] = user
        return people

    def _cases(self) -> None:
        wanted = self.size.cases
        if Case.objects.filter(source=Case.Source.PHANTOM).count() < wanted:
            # The whole series: those of an interrupted start are recognised and not drawn twice.
            call_command("make_phantoms", wanted, seed=self.seed, verbosity=0)

    def _base_model(self) -> Any:
        from training.services.models import register_base

        return register_base()

    def _studies(self, people: dict[str, User], model: Any) -> None:
        # In the order of import, which is the order of the phantoms: the same seed gives the same studies.
        cases = iter(Case.objects.filter(source=Case.Source.PHANTOM).order_by("created_at"))
        for plan in self._plans(people["reader"]):
            chosen = [next(cases) for _ in range(plan.cases)]
            study = Study.objects.filter(slug=plan.slug).first() or self._draft(plan, chosen, people, model)
            if study.state == Study.State.DRAFT:
                self._open(study, people["coordinator"], model)

    def _plans(self, reader: User) -> list[Plan]:
        size = self.size
        collectors = [_simulated_user("collector", n) for n in range(1, size.collectors + 1)]
        crowd = [_simulated_user("simulated", n) for n in range(1, size.simulated_readers + 1)]
        collection, comparison = Study.Kind.COLLECTION, Study.Kind.COMPARISON
        alone = ARMS[:1]
        return [
            Plan(COLLECTION, "Gaze collection", collection, size.collection_cases, [reader], "required", alone),
            Plan(
                COLLECTED, "Gaze collection, simulated readers", collection, size.collected_cases, collectors,
                "required", alone, simulated=True,
            ),
            Plan(
                BY_HAND, "GazeX crossover", comparison, size.by_hand_cases, [reader],
                "required", ARMS, washout_days=size.washout_days,
            ),
            Plan(
                SIMULATED, "GazeX crossover, simulated readers", comparison, size.simulated_cases, crowd,
                "optional", ARMS, simulated=True,
            ),
        ]  # fmt: skip

    @transaction.atomic
    def _draft(self, plan: Plan, cases: list[Case], people: dict[str, User], model: Any) -> Study:
        from study.services import studies

        body = {
            "findings": list(PHANTOM_FINDINGS),
            "gaze": plan.gaze,
            "calibration": {"max_accuracy_deg": 1.0, "max_data_loss": 0.2},
            "washout_days": plan.washout_days,
            "periods": len(plan.arms),
            "arms": plan.arms,
            "model_sha256": model.weights_sha256 if len(plan.arms) > 1 else None,
            "seed": self.seed,
        }
        coordinator = people["coordinator"]
        study = studies.create_study(
            name=plan.name,
            slug=plan.slug,
            kind=plan.kind,
            body=body,
            cases=cases,
            actor=coordinator,
            simulated=plan.simulated,
        )
        for role in ("coordinator", "researcher"):
            Membership.objects.get_or_create(study=study, user=people[role], role=role)
        for number, reader in enumerate(plan.readers, 1):
            studies.enrol(study=study, user=reader, reader_code=f"R{number:02}", actor=coordinator)
        return study

    def _open(self, study: Study, coordinator: User, model: Any) -> None:
        from analysis.models import AnalysisPlan
        from analysis.services.planning import lock_default_plan
        from study.services import studies
        from training.services.assisting import precompute

        if study.kind == Study.Kind.COMPARISON:
            precompute(study=study, model_version=model, actor=coordinator)
            if not AnalysisPlan.objects.filter(study=study, locked_at__isnull=False).exists():
                lock_default_plan(study=study, actor=coordinator)
        studies.open_study(study=study, actor=coordinator)


def _simulated_user(kind: str, number: int) -> User:
    """A reader nobody can sign in as until `simulate_readers` gives it a password for its own run."""
    user, made = User.objects.get_or_create(
        username=f"{kind}-{number}", defaults={"first_name": "Simulated", "last_name": f"reader {number}"}
    )
    if made:
        user.set_unusable_password()
        user.save()
    return user


def simulated_enrolments(study: Study) -> list[Enrolment]:
    """The enrolments of a study whose readers are simulated ones."""
    return [
        enrolment
        for enrolment in study.enrolments.select_related("user")
        if enrolment.user.username.startswith(("simulated-", "collector-"))
    ]
