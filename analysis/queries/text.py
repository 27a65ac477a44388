"""The reports of a comparison's reads, GazeX's report of each case, and what the reference standard says.

The reference standard has findings and places, and no text. The caller answers for who may see any of it: nothing here
asks whether the study is unblinded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from study.models import Case, Image, Mark, Read, ReferenceStandard, Stage, Study, Transcript
from study.queries.reading import shown_image
from study.services.assistance import output_for

from .readings import current_protocol

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TextRead:
    """A submitted read: its final report ("" where nothing was written) and its final marks.

    `boxes` and `points` are finding → what was marked, in image pixels.
    """

    reader: str
    case: Case
    arm: str
    text: str
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def text_reads(study: Study) -> list[TextRead]:
    """Every submitted read of the current protocol, by reader, case and arm."""
    reads = (
        Read.objects.filter(state=Read.State.SUBMITTED, assignment__arm__protocol=current_protocol(study))
        .select_related("assignment__enrolment", "assignment__arm", "assignment__case")
        .order_by("assignment__enrolment__reader_code", "assignment__case__label", "assignment__arm__key")
    )
    written = {one.read_id: one for one in Transcript.objects.filter(read__in=reads, stage=Stage.FINAL)}
    marks: dict[Any, list[Mark]] = defaultdict(list)
    for mark in Mark.objects.filter(read__in=reads, stage=Stage.FINAL).order_by("pk"):
        marks[mark.read_id].append(mark)
    out = []
    for read in reads:
        line = read.assignment
        boxes: dict[str, list[Box]] = defaultdict(list)
        points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for mark in marks[read.pk]:
            if mark.shape == Mark.Shape.BOX:
                x0, y0, x1, y1 = (float(v) for v in mark.points)
                boxes[mark.finding].append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
            else:
                points[mark.finding].append((float(mark.points[0]), float(mark.points[1])))
        text = _text(written.get(read.pk))
        out.append(TextRead(line.enrolment.reader_code, line.case, line.arm.key, text, dict(boxes), dict(points)))
    return out


def _text(transcript: Transcript | None) -> str:
    """The report as it was signed; its sentences where only they were kept."""
    if transcript is None:
        return ""
    return transcript.text.strip() or " ".join(str(line.get("text", "")) for line in transcript.sentences).strip()


@dataclass(frozen=True)
class Truth:
    """What is there on the image that is read: findings, and finding → boxes (of an outline, the box around it)."""

    findings: frozenset[str]
    boxes: dict[str, list[Box]]


def truths(study: Study, cases: Iterable[Case]) -> dict[str, Truth]:
    """By the case's label, of cases with a reference standard; only findings that the protocol asks for."""
    asked = set(current_protocol(study).body["findings"])
    known = {case.pk: case for case in cases}
    standards = ReferenceStandard.objects.filter(case__in=known).prefetch_related("findings")
    out = {}
    for standard in standards:
        case = known[standard.case_id]
        image = shown_image(case)
        here = [
            found
            for found in sorted(standard.findings.all(), key=lambda found: found.pk)
            if found.finding in asked and (found.image_id is None or image is None or found.image_id == image.pk)
        ]
        boxes: dict[str, list[Box]] = defaultdict(list)
        for found in here:
            box = _box(found.box, found.outline)
            if box is not None:
                boxes[found.finding].append(box)
        out[case.label] = Truth(frozenset(found.finding for found in here), dict(boxes))
    return out


def _box(box: Any, outline: Any) -> Box | None:
    if box:
        x0, y0, x1, y1 = (float(v) for v in box)
        return x0, y0, x1, y1
    if outline:
        across, down = zip(*((float(x), float(y)) for x, y in outline), strict=True)
        return min(across), min(down), max(across), max(down)
    return None


@dataclass(frozen=True)
class ModelReport:
    """GazeX's report of a case, and finding → boxes of the sentences that affirm it; or why there is none."""

    sentences: list[str]
    boxes: dict[str, list[Box]]
    missing: str = ""

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def model_reports(study: Study, cases: Iterable[Case]) -> dict[str, ModelReport]:
    """By the case's label: the report of the output that the study's protocol names, of the image that is read."""
    model = current_protocol(study).body.get("model_sha256")
    return {case.label: _report(shown_image(case), model) for case in cases}


def _report(image: Image | None, model: str | None) -> ModelReport:
    output = None if image is None else output_for(image=image, model_sha256=model)
    if output is None:
        why = "the protocol names no model" if model is None else "GazeX has no valid output for it"
        return ModelReport([], {}, why)
    lines = output.evidence.get("report", [])
    boxes: dict[str, list[Box]] = defaultdict(list)
    for line in lines:
        box = _box(line.get("box"), None)
        if line.get("finding") and box is not None:
            boxes[line["finding"]].append(box)
    sentences = [str(line["sentence"]) for line in lines if str(line["sentence"]).strip()]
    return ModelReport(sentences, dict(boxes), "" if sentences else "GazeX's report is empty or invalid")
