"""A study as the tidy tables that it is analysed from and exported as: :mod:`analysis.stats.reader_study.tables`.

Nothing here is computed that :mod:`analysis.stats` computes; these rows are the inputs, and their bytes are what a
result names by hash. Pseudonyms only: readers by their codes, cases by their labels.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.db.models import Q

from capture.models import Recording
from study.models import (
    Assignment,
    AssistanceReveal,
    AuditEntry,
    Case,
    Image,
    Mark,
    ProtocolVersion,
    Read,
    ReferenceFinding,
    ReferenceStandard,
    Response,
    Stage,
    Study,
    blob_path,
)
from study.queries.reading import shown_image
from study.services.assistance import output_for

from .readings import arms_of, current_protocol, readings, to_csv

#: Age bands of a subgroup, by their upper ends in years.
AGE_BANDS = ((40, "under 40"), (65, "40 to 64"), (200, "65 and over"))


def files_of(study: Study) -> dict[str, bytes]:
    """Every table of the study as the bytes of its CSV file, by name without the ending.

    Not the one of measures of gaze and reports: those are made from recordings, and kept as they were made.

    Raises:
        ReadingsError: a case that was read has no reference standard.
    """
    from analysis.stats.reader_study.tables import written

    protocol = current_protocol(study)
    findings = list(protocol.body["findings"])
    cases = list(
        Case.objects.filter(study_cases__protocol=protocol).select_related("reference_standard").order_by("label")
    )
    images = {case.pk: shown_image(case) for case in cases}
    truth = _truth(protocol)
    return {
        "readings": to_csv(readings(study)),
        "initial": written("initial", _initial(protocol, findings, truth)),
        "assistance": written("assistance", _assistance(protocol, findings, cases, images, truth)),
        "marks": written("marks", _marks(protocol, findings)),
        "lesions": written("lesions", _lesions(findings, cases, images)),
        "cases": written("cases", _cases(findings, cases, images, truth)),
        "readers": written("readers", _readers(study)),
        "reads": written("reads", _reads(study, protocol)),
    }


def measures_path(sha256: str) -> Path:
    """Where the table of measures that an analysis compared lies, by its hash."""
    return blob_path("analysis", sha256, ".csv")


def sha256_of(files: Mapping[str, bytes]) -> dict[str, str]:
    return {f"{name}.csv": hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def facts_of(study: Study, plan: dict[str, Any]) -> dict[str, Any]:
    """What the tables do not say of a study: its names, arms, protocols, and the plan it is analysed by."""
    protocol = current_protocol(study)
    closed = AuditEntry.objects.filter(act=AuditEntry.Act.STUDY_CLOSED, subject=f"Study {study.slug}").last()
    return {
        "slug": study.slug,
        "name": study.name,
        "simulated": study.simulated,
        "plan": plan,
        "arms": [{"key": arm.key, "name": arm.name, "assistance": arm.assistance} for arm in arms_of(study)],
        "findings": list(protocol.body["findings"]),
        "gaze": protocol.body["gaze"],
        "model_sha256": protocol.body["model_sha256"],
        "washout_days": protocol.body["washout_days"],
        "periods": protocol.body["periods"],
        "protocols": [
            {"number": version.number, "sha256": version.sha256, "locked_at": version.locked_at.isoformat()}
            for version in study.protocols.filter(locked_at__isnull=False).order_by("number")
        ],
        "closed_early": (closed.detail.get("reason") or "") if closed is not None else "",
    }


def _truth(protocol: ProtocolVersion) -> dict[Any, set[str]]:
    standards = ReferenceStandard.objects.filter(case__study_cases__protocol=protocol).prefetch_related("findings")
    return {standard.case_id: {found.finding for found in standard.findings.all()} for standard in standards}


def _initial(
    protocol: ProtocolVersion, findings: list[str], truth: Mapping[Any, set[str]]
) -> Iterable[tuple[Any, ...]]:
    rows = Response.objects.filter(
        stage=Stage.INITIAL,
        finding__in=findings,
        read__state=Read.State.SUBMITTED,
        read__assignment__arm__protocol=protocol,
    ).select_related("read__assignment__enrolment", "read__assignment__arm", "read__assignment__period")
    return sorted(
        (
            response.read.assignment.enrolment.reader_code,
            labels[response.read.assignment.case_id],
            response.read.assignment.arm.key,
            response.read.assignment.period.number,
            response.finding,
            int(response.finding in truth[response.read.assignment.case_id]),
            response.confidence,
        )
        for labels in [dict(Case.objects.filter(study_cases__protocol=protocol).values_list("pk", "label"))]
        for response in rows
        if response.read.assignment.case_id in truth
    )


def _assistance(
    protocol: ProtocolVersion,
    findings: list[str],
    cases: list[Case],
    images: Mapping[Any, Image | None],
    truth: Mapping[Any, set[str]],
) -> Iterable[tuple[Any, ...]]:
    """The stored probabilities of the protocol's findings, of the output that readers are shown."""
    for case in cases:
        image = images[case.pk]
        output = output_for(image=image, model_sha256=protocol.body["model_sha256"]) if image is not None else None
        if output is None or case.pk not in truth:
            continue
        said = {item["finding"]: float(item["probability"]) for item in output.evidence["findings"]}
        for finding in findings:
            if finding in said:
                yield (case.label, finding, int(finding in truth[case.pk]), said[finding])


def _marks(protocol: ProtocolVersion, findings: list[str]) -> Iterable[tuple[Any, ...]]:
    """Final marks. A mark hits where its centre lies in a reference box of its finding; of several, in the smallest.

    A mark without a confidence of its own has that of its finding in the same read.
    """
    marks = (
        Mark.objects.filter(
            stage=Stage.FINAL,
            finding__in=findings,
            read__state=Read.State.SUBMITTED,
            read__assignment__arm__protocol=protocol,
        )
        .select_related("read__assignment__enrolment", "read__assignment__arm", "read__assignment__case")
        .order_by("pk")
    )
    given = {
        (read, finding): confidence
        for read, finding, confidence in Response.objects.filter(
            stage=Stage.FINAL, read__assignment__arm__protocol=protocol
        ).values_list("read_id", "finding", "confidence")
    }
    boxes: dict[Any, list[tuple[str, str, list[float]]]] = {}
    rows = []
    for mark in marks:
        assignment = mark.read.assignment
        if assignment.case_id not in boxes:
            image = shown_image(assignment.case)
            boxes[assignment.case_id] = [
                (name, found.finding, found.box) for name, found in _named(image, findings) if found.box is not None
            ]
        x, y = _centre(mark.points)
        hit = [
            ((box[2] - box[0]) * (box[3] - box[1]), name)
            for name, finding, box in boxes[assignment.case_id]
            if finding == mark.finding and box[0] <= x <= box[2] and box[1] <= y <= box[3]
        ]
        lesion = min(hit)[1] if hit else ""
        rating = mark.confidence if mark.confidence is not None else given.get((mark.read_id, mark.finding))
        if rating is None:
            continue
        rows.append(
            (
                assignment.enrolment.reader_code,
                assignment.arm.key,
                assignment.case.label,
                mark.finding,
                "LL" if hit else "NL",
                lesion,
                rating,
            )
        )
    return sorted(rows)


def _centre(points: list[float]) -> tuple[float, float]:
    if len(points) == 2:
        return points[0], points[1]
    return (points[0] + points[2]) / 2, (points[1] + points[3]) / 2


def _named(image: Image | None, findings: list[str]) -> list[tuple[str, ReferenceFinding]]:
    """The reference findings of an image, each with its name within the case: "Pneumothorax 1"."""
    if image is None:
        return []
    counts: dict[str, int] = defaultdict(int)
    named = []
    here = Q(image=image) | Q(image__isnull=True, standard__case=image.case_id)
    for found in ReferenceFinding.objects.filter(here, finding__in=findings).order_by("pk"):
        counts[found.finding] += 1
        named.append((f"{found.finding} {counts[found.finding]}", found))
    return named


def _lesions(findings: list[str], cases: list[Case], images: Mapping[Any, Image | None]) -> Iterable[tuple[Any, ...]]:
    for case in cases:
        for name, found in _named(images[case.pk], findings):
            yield (case.label, found.finding, name, int(found.box is not None))


def _cases(
    findings: list[str],
    cases: list[Case],
    images: Mapping[Any, Image | None],
    truth: Mapping[Any, set[str]],
) -> Iterable[tuple[Any, ...]]:
    for case in cases:
        image = images[case.pk]
        attributes = image.attributes if image is not None else {}
        yield (
            case.label,
            case.get_source_display(),
            image.view if image is not None else "",
            str(attributes.get("PatientSex") or ""),
            age_band(attributes.get("PatientAge")),
            str(attributes.get("Modality") or ""),
            "; ".join(name for name in findings if name in truth.get(case.pk, set())),
        )


def age_band(age: Any) -> str:
    """The band of a DICOM age string such as 063Y; empty where there is none."""
    text = str(age or "")
    if len(text) != 4 or not text[:3].isdigit() or text[3] not in "DWMY":
        return ""
    years = int(text[:3]) if text[3] == "Y" else 0
    return next(name for end, name in AGE_BANDS if years < end)


def _readers(study: Study) -> Iterable[tuple[Any, ...]]:
    for enrolment in study.enrolments.order_by("reader_code"):
        yield (enrolment.reader_code, enrolment.consented_at is not None, enrolment.withdrawn_at is not None)


def _reads(study: Study, protocol: ProtocolVersion) -> Iterable[tuple[Any, ...]]:
    """One row per assignment. Why a read was invalidated stands in the audit trail."""
    lines = (
        Assignment.objects.filter(arm__protocol=protocol)
        .select_related("enrolment", "case", "arm", "period", "read")
        .order_by("enrolment__reader_code", "period__number", "position")
    )
    reasons = {
        entry.subject.removeprefix("Read "): entry.detail.get("reason", "")
        for entry in AuditEntry.objects.filter(act=AuditEntry.Act.READ_INVALIDATED, detail__study=study.slug)
    }
    revealed = set(
        AssistanceReveal.objects.filter(read__assignment__arm__protocol=protocol).values_list("read_id", flat=True)
    )
    recordings = dict(
        Recording.objects.filter(read__assignment__arm__protocol=protocol).values_list("read_id", "state")
    )
    for line in lines:
        read = getattr(line, "read", None)
        yield (
            line.enrolment.reader_code,
            line.case.label,
            line.arm.key,
            line.period.number,
            line.position,
            read.state if read is not None else "assigned",
            reasons.get(str(read.pk), "") if read is not None else "",
            read is not None and read.pk in revealed,
            read.seconds if read is not None else None,
            recordings.get(read.pk, "none") if read is not None else "none",
        )
