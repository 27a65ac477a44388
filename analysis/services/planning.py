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

from . import plan_body


def default_body(study: Study) -> dict[str, Any]:
    """The plan most reader studies want: the AUC for any finding, DeLong, readers and cases random, against unassisted.

    Secondary are the AUC of each finding, sensitivity and specificity for any finding, and reading time, by Holm.
    """
    findings, arms = _asked(study)
    return {
        "endpoints": [
            plan_body.endpoint(ANY, role="primary"),
            *(plan_body.endpoint(name) for name in findings),
            plan_body.endpoint(ANY, "sensitivity"),
            plan_body.endpoint(ANY, "specificity"),
            plan_body.endpoint(ANY, "time"),
        ],
        "covariance": "delong",
        "random": "readers_cases",
        "alpha": 0.05,
        "reference_arm": arms[0],
        "threshold": 4,
        "multiplicity": "holm",
        "subgroups": ["finding", "view", "sex", "age"],
        "missing": "available",
    }


def check_body(study: Study, body: dict[str, Any]) -> dict[str, Any]:
    """The body as it is stored.

    Raises:
        Refused: a key is missing or unknown, or a value is not one of its choices; the sentence names it.
    """
    findings, arms = _asked(study)
    if isinstance(body, dict) and "primary" in body:  # a draft from before endpoints had figures of merit of their own
        body = plan_body.complete(body)
    return plan_body.check(body, findings=findings, arms=arms)


def _asked(study: Study) -> tuple[list[str], list[str]]:
    """The protocol's findings and the keys of its arms, the unassisted one first."""
    try:
        protocol, arms = current_protocol(study), arms_of(study)
    except ReadingsError as error:
        raise Refused(error.sentence) from error
    if not arms:
        raise Refused(f"{study.name} has no arms; there is nothing to compare.")
    return list(protocol.body["findings"]), [arm.key for arm in arms]


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
