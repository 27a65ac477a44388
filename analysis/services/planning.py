"""Writing the analysis plan, and locking it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import transaction
from django.utils import timezone

from analysis.models import AnalysisPlan
from analysis.queries.readings import ANY, ReadingsError, arms_of, current_protocol
from study.models import AuditEntry, Study
from study.services.audit import record
from study.services.errors import Refused


def default_body(study: Study) -> dict[str, Any]:
    """The plan most reader studies want: any finding, DeLong, readers and cases random, against the unassisted arm."""
    try:
        protocol, arms = current_protocol(study), arms_of(study)
    except ReadingsError as error:
        raise Refused(error.sentence) from error
    if not arms:
        raise Refused(f"{study.name} has no arms; there is nothing to compare.")
    return {
        "primary": ANY,
        "secondary": list(protocol.body["findings"]),
        "fom": "auc",
        "covariance": "delong",
        "random": "readers_cases",
        "alpha": 0.05,
        "margin": None,
        "reference_arm": arms[0].key,
        "threshold": 4,
    }


def check_body(study: Study, body: dict[str, Any]) -> dict[str, Any]:
    """The body with its numbers as numbers.

    Raises:
        Refused: a key is missing or unknown, or a value is not one of its choices; the sentence names it.
    """
    # Imported here: scipy takes a second that no other page need pay.
    from analysis.stats.components import COVARIANCES
    from analysis.stats.mrmc import FIGURES_OF_MERIT
    from analysis.stats.obuchowski_rockette import RANDOM

    defaults = default_body(study)
    if set(body) != set(defaults):
        wrong = sorted(set(body) ^ set(defaults))
        raise Refused(f"The analysis plan needs exactly {', '.join(defaults)}; wrong or missing: {', '.join(wrong)}.")
    findings = [ANY, *current_protocol(study).body["findings"]]
    arms = [arm.key for arm in arms_of(study)]
    choices: dict[str, list[Any]] = {
        "primary": findings,
        "fom": list(FIGURES_OF_MERIT),
        "covariance": list(COVARIANCES),
        "random": list(RANDOM),
        "reference_arm": arms,
        "threshold": [2, 3, 4, 5],
    }
    for key, allowed in choices.items():
        if body[key] not in allowed:
            raise Refused(f"The plan's {key} is {body[key]!r}; it must be one of {', '.join(map(str, allowed))}.")
    unknown = [finding for finding in body["secondary"] if finding not in findings]
    if unknown:
        raise Refused(f"The plan's secondary endpoint {unknown[0]!r} is not a finding of the protocol.")
    for key, low, high in (("alpha", 0.0, 0.5), ("margin", 0.0, 1.0)):
        value = body[key]
        if key == "margin" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            raise Refused(f"The plan's {key} is {value!r}; it must be a number between {low:g} and {high:g}.")
    secondary = [finding for finding in body["secondary"] if finding != body["primary"]]
    return {**body, "secondary": list(dict.fromkeys(secondary))}


def canonical_sha256(body: dict[str, Any]) -> str:
    """Of the body as sorted, compact JSON."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def save_plan(*, study: Study, body: dict[str, Any] | None, actor: Any) -> AnalysisPlan:
    """Write or rewrite the draft; None writes the default plan.

    Raises:
        Refused: the plan is locked, the study is no comparison or is unblinded already, or the body is faulty.
    """
    _comparison(study)
    plan = AnalysisPlan.objects.select_for_update().filter(study=study).first()
    if plan is not None and plan.is_locked:
        raise Refused(f"The analysis plan of {study.name} is locked; what it says cannot be changed.")
    if study.state == Study.State.UNBLINDED:
        raise Refused(f"{study.name} is unblinded; a plan written now would be written knowing the answers.")
    body = check_body(study, body or default_body(study))
    if plan is None:
        plan = AnalysisPlan(study=study)
    plan.body = body
    plan.full_clean()
    plan.save()
    return plan


@transaction.atomic
def lock_plan(*, study: Study, actor: Any) -> AnalysisPlan:
    """Lock the plan for good and hash it.

    Raises:
        Refused: there is no plan, it is locked already, or the study is unblinded.
    """
    _comparison(study)
    plan = AnalysisPlan.objects.select_for_update().filter(study=study).first()
    if plan is None:
        raise Refused(f"{study.name} has no analysis plan yet; write one before locking it.")
    if plan.is_locked:
        raise Refused(f"The analysis plan of {study.name} is locked already.")
    if study.state == Study.State.UNBLINDED:
        raise Refused(f"{study.name} is unblinded; a plan locked now would be locked knowing the answers.")
    plan.body = check_body(study, plan.body)
    plan.sha256 = canonical_sha256(plan.body)
    plan.locked_at = timezone.now()
    plan.locked_by = actor
    plan.full_clean()
    plan.save()
    record(
        actor=actor, act=AuditEntry.Act.PLAN_LOCKED, subject=f"Study {study.slug}", detail={"plan_sha256": plan.sha256}
    )
    return plan


@transaction.atomic
def lock_default_plan(*, study: Study, actor: Any) -> AnalysisPlan:
    """Write the default plan where there is none, and lock what there is."""
    if not AnalysisPlan.objects.filter(study=study).exists():
        save_plan(study=study, body=None, actor=actor)
    return lock_plan(study=study, actor=actor)


def _comparison(study: Study) -> None:
    if study.kind != Study.Kind.COMPARISON:
        raise Refused(f"{study.name} is a collection of gaze; only a comparison of arms is analysed.")
