"""Locking a protocol: the body and the plan get their hashes, and from then on they are what they were."""

from __future__ import annotations

from django.utils import timezone

from study.models import Assignment, AuditEntry, ProtocolVersion, User
from study.planning import Line, body_sha256, plan, plan_sha256

from . import audit
from .errors import Refused


def lock(*, protocol: ProtocolVersion, actor: User | None) -> ProtocolVersion:
    """Materialise the plan and hash it together with the protocol. Call inside the transaction that opens the study.

    Raises
    ------
    Refused
        Where the protocol is locked already.
    """
    enrolments = {e.reader_code: e for e in protocol.study.enrolments.filter(withdrawn_at__isnull=True)}
    cases = {str(row.case_id): row.case_id for row in protocol.study_cases.all()}
    arms = {arm.key: arm for arm in protocol.arms.all()}
    periods = {period.number: period for period in protocol.periods.all()}
    lines = plan(protocol.body, enrolments, cases, protocol.body["seed"])
    claimed = ProtocolVersion.objects.filter(pk=protocol.pk, locked_at__isnull=True).update(
        locked_at=timezone.now(), sha256=body_sha256(protocol.body), plan_sha256=plan_sha256(lines)
    )
    if not claimed:
        raise Refused(f"{protocol} is locked already; an amendment is a new version.")
    Assignment.objects.bulk_create(
        [
            Assignment(
                enrolment=enrolments[line.reader],
                case_id=cases[line.case],
                arm=arms[line.arm],
                period=periods[line.period],
                position=line.position,
            )
            for line in lines
        ],
        batch_size=500,
    )
    protocol.refresh_from_db()
    audit.record(
        actor=actor,
        act=AuditEntry.Act.PROTOCOL_LOCKED,
        subject=f"Study {protocol.study.slug} protocol {protocol.number}",
        detail={"sha256": protocol.sha256, "plan_sha256": protocol.plan_sha256, "assignments": len(lines)},
    )
    return protocol


def stored_plan(protocol: ProtocolVersion) -> list[Line]:
    """The plan as the database holds it now."""
    rows = Assignment.objects.filter(arm__protocol=protocol).values_list(
        "enrolment__reader_code", "period__number", "position", "case_id", "arm__key"
    )
    return sorted(Line(reader, period, position, str(case), arm) for reader, period, position, case, arm in rows)


def verify_plans() -> list[str]:
    """One sentence for each locked protocol that is no longer what was locked; an empty list where all are.

    Compared are the body's hash, the plan's hash, and the rows made of the body (arms, periods, cases).
    """
    problems = []
    for protocol in ProtocolVersion.objects.filter(locked_at__isnull=False).select_related("study"):
        if sentence := _difference(protocol):
            problems.append(f"Study {protocol.study.slug}, protocol {protocol.number}: {sentence}")
    return problems


def _difference(protocol: ProtocolVersion) -> str | None:
    if body_sha256(protocol.body) != protocol.sha256:
        return "the protocol differs from the one that was locked; restore the database from its copy."
    lines = stored_plan(protocol)
    if plan_sha256(lines) != protocol.plan_sha256:
        return "the plan differs from the one that was locked; restore the database from its copy."
    arms = sorted(protocol.arms.values_list("key", "name", "assistance"))
    if arms != sorted((arm["key"], arm["name"], arm["assistance"]) for arm in protocol.body["arms"]):
        return "its arms differ from the locked protocol; restore the database from its copy."
    periods = list(protocol.periods.order_by("number").values_list("number", "washout_days"))
    if periods != periods_of(protocol.body):
        return "its periods differ from the locked protocol; restore the database from its copy."
    if {line.case for line in lines} != {str(case) for case in protocol.study_cases.values_list("case_id", flat=True)}:
        return "its cases differ from the locked plan; restore the database from its copy."
    return None


def periods_of(body: dict) -> list[tuple[int, int]]:
    """(number, washout days) of each period: the first waits for nothing."""
    return [(number, 0 if number == 1 else body["washout_days"]) for number in range(1, body["periods"] + 1)]
