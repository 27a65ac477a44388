"""What is stored of how a study was made, for its report and the checklists: facts only, in words and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.models import AnalysisResult
from study.models import AssistanceOutput, AuditEntry, Case, ReferenceFinding, ReferenceStandard, Study

from .readings import arms_of, current_protocol
from .tables import age_band

_ASSISTANCE = {
    "none": "unassisted",
    "concurrent": "GazeX shown with the image",
    "on_request": "GazeX on request, after the reader’s own answers are locked",
    "second_read": "GazeX as second reader, after the reader’s own answers are locked",
}


@dataclass(frozen=True)
class Facts:
    """Counts are words ready to print; an empty string is what is not stored."""

    design: tuple[tuple[str, str], ...]
    plan_locked: str
    opened: str
    closed: str
    unblinded: str
    readers: int
    consented: int
    cases: int
    patients: int
    diseased: int
    normal: int
    findings: tuple[str, ...]
    prevalence: str
    sources: str
    views: str
    sexes: str
    ages: str
    modalities: str
    reference_methods: str
    boxed: str
    arms: str
    parts: str
    periods: int
    washout_days: int
    gaze: str
    model_sha256: str
    prompt_versions: str
    seed: int
    protocol_versions: int


def facts_of_result(result: AnalysisResult) -> Facts:
    return facts_of_study(result.study)


def facts_of_study(study: Study) -> Facts:
    """Facts of a study whose protocol is locked."""
    protocol, arms = current_protocol(study), arms_of(study)
    body = protocol.body
    cases = list(Case.objects.filter(study_cases__protocol=protocol).prefetch_related("images"))
    images = [image for case in cases for image in case.images.all()[:1]]
    standards = ReferenceStandard.objects.filter(case__in=cases)
    found = ReferenceFinding.objects.filter(standard__in=standards, finding__in=body["findings"])
    diseased = found.values("standard").distinct().count()
    by_finding = Counter(name for name, _ in set(found.values_list("finding", "standard")))
    arm_words = "; ".join(f"{arm.name}: {_ASSISTANCE[arm.assistance]}" for arm in arms)
    plan = getattr(study, "analysis_plan", None)
    readers = study.enrolments.count()
    consented = study.enrolments.filter(consented_at__isnull=False).count()
    washout = int(body["washout_days"])
    design = [
        ("Readers", f"{readers}, of whom {consented} consented to gaze recording"),
        ("Cases", (f"{len(cases)} of {len({case.patient_id for case in cases})} patients, {diseased} with at least one "
         f"finding and {standards.count() - diseased} without")),
        ("Findings", ", ".join(body["findings"])),
        ("Arms", arm_words),
        ("Order", (f"{body['periods']} periods, {washout} days of washout between them; arms crossed over between "
         f"{_parts(len(arms))} of readers and of cases; the order of cases permuted for each reader and period")),
        ("Answers", "confidence 1 to 5 for every finding, marks on the image, a report"),
        ("Gaze", {"required": "recorded, required", "optional": "recorded where a station was there",
                  "none": "not recorded"}[body["gaze"]]),
        ("Reference standard", _counted(standards.values_list("method", flat=True))),
    ]  # fmt: skip
    outputs = AssistanceOutput.objects.filter(model_sha256=body["model_sha256"] or "", case__in=cases)
    return Facts(
        design=tuple(design),
        plan_locked=f"{plan.locked_at:%Y-%m-%d %H:%M} UTC" if plan is not None and plan.locked_at else "",
        opened=_when(study, AuditEntry.Act.STUDY_OPENED),
        closed=_when(study, AuditEntry.Act.STUDY_CLOSED),
        unblinded=_when(study, AuditEntry.Act.STUDY_UNBLINDED),
        readers=readers,
        consented=consented,
        cases=len(cases),
        patients=len({case.patient_id for case in cases}),
        diseased=diseased,
        normal=standards.count() - diseased,
        findings=tuple(body["findings"]),
        prevalence=", ".join(f"{name} in {by_finding[name]}" for name in body["findings"]),
        sources=_counted(case.get_source_display() for case in cases),
        views=_counted(image.view for image in images if image.view),
        sexes=_counted(str(image.attributes["PatientSex"]) for image in images if image.attributes.get("PatientSex")),
        ages=_counted(age_band(image.attributes.get("PatientAge")) for image in images),
        modalities=_counted(str(image.attributes["Modality"]) for image in images if image.attributes.get("Modality")),
        reference_methods=_counted(standards.values_list("method", flat=True)),
        boxed=f"{sum(1 for one in found if one.box is not None)} of {len(found)} reference findings have a box"
        if found else "",
        arms=arm_words,
        parts=_parts(len(arms)),
        periods=int(body["periods"]),
        washout_days=washout,
        gaze=str(body["gaze"]),
        model_sha256=str(body["model_sha256"] or ""),
        prompt_versions=", ".join(sorted(set(outputs.values_list("prompt_version", flat=True)))),
        seed=int(body["seed"]),
        protocol_versions=study.protocols.filter(locked_at__isnull=False).count(),
    )  # fmt: skip


def _parts(arms: int) -> str:
    """What readers and cases fall into, so that arms can be crossed over."""
    return "halves" if arms == 2 else "groups"


def _counted(values: Iterable[str]) -> str:
    """ "PA 12, AP 3": the commonest first; empty where there is nothing."""
    counts = Counter(value for value in values if value)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda x: (-x[1], x[0])))


def _when(study: Study, act: str) -> str:
    entry = AuditEntry.objects.filter(act=act, subject=f"Study {study.slug}").last()
    return f"{entry.created_at:%Y-%m-%d %H:%M} UTC" if entry is not None else ""
