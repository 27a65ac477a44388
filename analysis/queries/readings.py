"""The readings of a study as one tidy table, and how far the reading has come."""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.models import Arm, Assignment, ProtocolVersion, Read, ReferenceStandard, Response, Stage
from study.models import Study as StudyModel

if TYPE_CHECKING:
    import pandas as pd

#: The endpoint that asks only whether a case is normal: truth is any finding, rating the highest confidence given.
ANY = "any"
COLUMNS = ["reader", "case", "arm", "period", "finding", "truth", "rating", "seconds"]


class ReadingsError(Exception):
    """The readings cannot be analysed; the sentence says which and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def current_protocol(study: StudyModel) -> ProtocolVersion:
    """The protocol that is read: the latest locked one, else the draft."""
    locked = study.protocols.filter(locked_at__isnull=False).order_by("-number").first()
    protocol = locked or study.protocols.order_by("-number").first()
    if protocol is None:
        raise ReadingsError(f"{study.name} has no protocol; nothing can be planned or analysed.")
    return protocol


def arms_of(study: StudyModel) -> list[Arm]:
    """The arms, unassisted first."""
    arms = list(current_protocol(study).arms.all())
    return sorted(arms, key=lambda arm: (arm.assistance != Arm.Assistance.NONE, arm.pk))


def readings(study: StudyModel) -> pd.DataFrame:
    """Every final answer of every submitted read.

    Returns:
        Columns ``reader, case, arm, period, finding, truth, rating, seconds`` in a fixed row order: one row per read
        and finding. ``seconds`` is the read's time by the server's clock, the same in each of its rows.

    Raises:
        ReadingsError: a case that was read has no reference standard.
    """
    import pandas as pd

    protocol = current_protocol(study)
    findings = list(protocol.body["findings"])
    rows = (
        Response.objects.filter(
            stage=Stage.FINAL,
            finding__in=findings,
            read__state=Read.State.SUBMITTED,
            read__assignment__arm__protocol=protocol,
        )
        .select_related("read__assignment__enrolment", "read__assignment__arm", "read__assignment__period")
        .select_related("read__assignment__case")
    )
    truths: dict[object, set[str]] = {
        standard.case_id: {found.finding for found in standard.findings.all()}
        for standard in ReferenceStandard.objects.filter(case__study_cases__protocol=protocol).prefetch_related(
            "findings"
        )
    }
    table, without = [], set()
    for response in rows.iterator(chunk_size=2000):
        assignment = response.read.assignment
        truth = truths.get(assignment.case_id)
        if truth is None:
            without.add(assignment.case.label)
            continue
        table.append(
            (
                assignment.enrolment.reader_code,
                assignment.case.label,
                assignment.arm.key,
                assignment.period.number,
                response.finding,
                int(response.finding in truth),
                response.confidence,
                response.read.seconds,
            )
        )
    if without:
        names = ", ".join(sorted(without)[:5])
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        raise ReadingsError(
            f"{len(without)} of the cases that were read have no reference standard ({names}{more}); "
            "give them one before the analysis is run."
        )
    frame = pd.DataFrame(table, columns=COLUMNS)
    return frame.sort_values(["reader", "case", "arm", "period", "finding"], ignore_index=True)


def endpoint_readings(frame: pd.DataFrame, endpoint: str) -> pd.DataFrame:
    """One row per read for an endpoint: a finding, or :data:`ANY`; see the library's function of that name."""
    from analysis.stats.reader_study import tables

    return tables.endpoint_readings(frame, endpoint)


def to_csv(frame: pd.DataFrame) -> bytes:
    """The table as it is exported and hashed: UTF-8, comma, LF, seconds to the microsecond."""
    text: str = frame.to_csv(index=False, lineterminator="\n", float_format="%.6f")
    return text.encode()


def readings_sha256(frame: pd.DataFrame) -> str:
    return hashlib.sha256(to_csv(frame)).hexdigest()


def label_of(endpoint: str) -> str:
    """What pages call an endpoint."""
    return "any finding" if endpoint == ANY else endpoint


@dataclass(frozen=True)
class Completeness:
    """How far one reader has come: reads submitted of those assigned, per arm, and their median time over all arms."""

    reader: str
    cells: list[tuple[int, int]]
    submitted: int
    assigned: int
    median_seconds: float | None
    withdrawn: bool


def completeness(study: StudyModel) -> tuple[list[Arm], list[Completeness]]:
    """Readers × arms. Says nothing about answers, nor about time by arm, so it may be seen before unblinding."""
    protocol, arms = current_protocol(study), arms_of(study)
    assigned: dict[tuple[str, int], int] = defaultdict(int)
    submitted: dict[tuple[str, int], int] = defaultdict(int)
    seconds: dict[str, list[float]] = defaultdict(list)
    withdrawn = {}
    lines = Assignment.objects.filter(arm__protocol=protocol).select_related("enrolment", "read")
    for line in lines:
        code = line.enrolment.reader_code
        withdrawn[code] = line.enrolment.withdrawn_at is not None
        assigned[code, line.arm_id] += 1
        read = getattr(line, "read", None)
        if read is not None and read.state == Read.State.SUBMITTED:
            submitted[code, line.arm_id] += 1
            if read.seconds is not None:
                seconds[code].append(read.seconds)
    table = []
    for code in sorted(withdrawn):
        cells = [(submitted[code, arm.pk], assigned[code, arm.pk]) for arm in arms]
        times = seconds[code]
        table.append(
            Completeness(
                code,
                cells,
                sum(cell[0] for cell in cells),
                sum(cell[1] for cell in cells),
                statistics.median(times) if times else None,
                withdrawn[code],
            )
        )
    return arms, table
