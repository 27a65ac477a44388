"""The explorer of an unblinded comparison: its cases one by one, with truth, answers, GazeX's output and gaze.

Whether an answer is right follows from the locked plan's threshold, whether GazeX's is from CALLED_FROM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from django.db.models import Exists, Max, OuterRef, QuerySet

from analysis.models import AnalysisPlan
from capture.models import GazeTrack, Recording
from capture.queries.recordings import recordings_visible_to
from study.models import (
    Arm,
    Assignment,
    AssistanceOutput,
    Case,
    ProtocolVersion,
    Read,
    ReferenceFinding,
    ReferenceStandard,
    Response,
    Stage,
    Study,
)
from study.queries.studies import cases_visible_to

from .readings import ANY, arms_of, current_protocol
from .results import studies_analysed_by

#: The probability from which GazeX counts as calling a finding present, as in `analysis.stats.reader_study.outcomes`,
#: which is not imported for one number: pandas and scipy come with it.
CALLED_FROM: Final = 0.5
#: Where a plan names no threshold: "probably present".
_THRESHOLD: Final = 4

ChangeKind = Literal["helped", "harmed", ""]


def studies_explored_by(user: Any) -> QuerySet[Study]:
    """The unblinded comparisons this person coordinates."""
    return studies_analysed_by(user).filter(state=Study.State.UNBLINDED)


def cases_explored_by(user: Any, study: Study) -> QuerySet[Case]:
    """The study's cases, but those the person still reads blind elsewhere: this page shows their truth."""
    if not studies_explored_by(user).contains(study):
        return Case.objects.none()
    return cases_visible_to(user).filter(study_cases__protocol=current_protocol(study))


def recordings_explored_by(user: Any, study: Study) -> QuerySet[Recording]:
    """Recordings of submitted reads of those cases that became gaze tracks; not of readers who withdrew."""
    tracked = Exists(GazeTrack.objects.filter(recording=OuterRef("pk")))
    return recordings_visible_to(user).filter(
        tracked,
        read__state=Read.State.SUBMITTED,
        read__assignment__enrolment__withdrawn_at__isnull=True,
        read__assignment__arm__protocol=current_protocol(study),
        read__assignment__case__in=cases_explored_by(user, study),
    )


@dataclass(frozen=True)
class Rules:
    """How the answers of a study are judged. `arms` begins with the plan's reference arm."""

    protocol: ProtocolVersion
    primary: str
    threshold: int
    arms: tuple[Arm, ...]

    @property
    def findings(self) -> list[str]:
        return list(self.protocol.body["findings"])

    def called(self, confidence: int) -> bool:
        return confidence >= self.threshold


def rules_of(study: Study) -> Rules:
    """The rules of the study's plan."""
    plan = AnalysisPlan.objects.filter(study=study).first()
    body = plan.body if plan else {}
    protocol, arms = current_protocol(study), arms_of(study)
    reference = body.get("reference_arm")
    if reference in {arm.key for arm in arms}:
        arms.sort(key=lambda arm: arm.key != reference)
    return Rules(protocol, _primary(body, protocol), int(body.get("threshold", _THRESHOLD)), tuple(arms))


def _primary(body: Mapping[str, Any], protocol: ProtocolVersion) -> str:
    """The finding of the plan's primary endpoint, in either shape that plans have had."""
    endpoints = body.get("endpoints") or [{"finding": body.get("primary")}]
    finding = endpoints[0].get("finding")
    return str(finding) if finding in protocol.body["findings"] else ANY


@dataclass(frozen=True)
class Call:
    """GazeX's call. `right` is None where the case has no reference standard."""

    probability: float
    present: bool
    right: bool | None


@dataclass(frozen=True)
class Tally:
    """How many of the readers who read a case in this arm were right; None without a reference standard."""

    arm: Arm
    right: int | None
    read: int

    @property
    def share(self) -> float:
        return self.right / self.read if self.right is not None and self.read else -1.0


@dataclass(frozen=True)
class Change:
    """Of the readers who read a case in both arms, those whose decision became right, and those whose became wrong."""

    arm: Arm
    helped: int | None
    harmed: int | None
    pairs: int


@dataclass(frozen=True)
class Line:
    """One case for one endpoint. `truth` is None without a reference standard."""

    label: str
    found: tuple[str, ...]
    truth: bool | None
    call: Call | None
    tallies: tuple[Tally, ...]
    changes: tuple[Change, ...]
    disagreement: bool

    @property
    def harmed(self) -> int:
        return sum(change.harmed or 0 for change in self.changes)

    @property
    def helped(self) -> int:
        return sum(change.helped or 0 for change in self.changes)

    @property
    def gazex_wrong(self) -> bool:
        return self.call is not None and self.call.right is False


def case_lines(cases: QuerySet[Case], rules: Rules, endpoint: str, reader: str = "") -> list[Line]:
    """A line for each of the cases, by label, judged for a finding or for :data:`ANY`; of all readers, or of one."""
    wanted = rules.findings if endpoint == ANY else [endpoint]
    rows = list(cases.order_by("label").values_list("pk", "label"))
    truths, evidence = _truths(cases), _evidence(cases, rules.protocol)
    ratings = _ratings(cases, rules, wanted, reader)
    lines = []
    for pk, label in rows:
        found = truths.get(pk)
        truth = None if found is None else any(one.finding in wanted for one in found)
        decided = {
            arm.pk: {code: rules.called(value) for code, value in ratings.get((pk, arm.pk), {}).items()}
            for arm in rules.arms
        }
        lines.append(
            Line(
                label=label,
                found=tuple(str(one) for one in found or ()),
                truth=truth,
                call=call_of(evidence.get(pk), wanted, truth),
                tallies=tuple(_tally(arm, decided[arm.pk], truth) for arm in rules.arms),
                changes=tuple(
                    _change(arm, decided[rules.arms[0].pk], decided[arm.pk], truth) for arm in rules.arms[1:]
                ),
                disagreement=any(len(set(calls.values())) > 1 for calls in decided.values()),
            )
        )
    return lines


def call_of(evidence: Mapping[str, Any] | None, wanted: Sequence[str], truth: bool | None) -> Call | None:
    """GazeX's call of one finding, or of any of several: by its highest probability.

    None where it gives none of them a probability.
    """
    given = [row["probability"] for row in (evidence or {}).get("findings", []) if row["finding"] in wanted]
    if not given:
        return None
    present = max(given) >= CALLED_FROM
    return Call(max(given), present, None if truth is None else present == truth)


def change_of(before: bool | None, after: bool | None) -> ChangeKind:
    """From whether an answer was right in the reference arm and in another one."""
    if before is None or after is None or before == after:
        return ""
    return "helped" if after else "harmed"


def _tally(arm: Arm, calls: Mapping[str, bool], truth: bool | None) -> Tally:
    right = None if truth is None else sum(call == truth for call in calls.values())
    return Tally(arm, right, len(calls))


def _change(arm: Arm, before: Mapping[str, bool], after: Mapping[str, bool], truth: bool | None) -> Change:
    both = before.keys() & after.keys()
    if truth is None:
        return Change(arm, None, None, len(both))
    kinds = [change_of(before[reader] == truth, after[reader] == truth) for reader in both]
    return Change(arm, kinds.count("helped"), kinds.count("harmed"), len(both))


def _truths(cases: QuerySet[Case]) -> dict[UUID, list[ReferenceFinding]]:
    standards = ReferenceStandard.objects.filter(case__in=cases.values("pk")).prefetch_related("findings")
    return {standard.case_id: list(standard.findings.all()) for standard in standards}


def _evidence(cases: QuerySet[Case], protocol: ProtocolVersion) -> dict[UUID, dict[str, Any]]:
    """What the study's model said of each case: the first valid output, as `study.services.assistance.output_for`."""
    outputs = AssistanceOutput.objects.filter(
        case__in=cases.values("pk"), model_sha256=protocol.body.get("model_sha256") or "", valid=True
    )
    first: dict[UUID, dict[str, Any]] = {}
    for case, evidence in outputs.order_by("created_at", "id").values_list("case_id", "evidence"):
        first.setdefault(case, evidence)
    return first


def _ratings(
    cases: QuerySet[Case], rules: Rules, wanted: Iterable[str], reader: str
) -> dict[tuple[UUID, int], dict[str, int]]:
    """(case, arm) → reader → the highest confidence of the findings, of submitted reads."""
    of = {"read__assignment__enrolment__reader_code": reader} if reader else {}
    rows = (
        Response.objects.filter(
            stage=Stage.FINAL,
            finding__in=list(wanted),
            read__state=Read.State.SUBMITTED,
            read__assignment__arm__protocol=rules.protocol,
            read__assignment__case__in=cases.values("pk"),
            **of,
        )
        .values_list(
            "read__assignment__case_id", "read__assignment__arm_id", "read__assignment__enrolment__reader_code"
        )
        .annotate(rating=Max("confidence"))
        .order_by()
    )
    ratings: dict[tuple[UUID, int], dict[str, int]] = defaultdict(dict)
    for case, arm, code, rating in rows:
        ratings[case, arm][code] = rating
    return ratings


@dataclass(frozen=True)
class Answer:
    """One confidence; `right` is None where it was not given or the case has no reference standard."""

    confidence: int | None
    right: bool | None


@dataclass(frozen=True)
class Cell:
    """One reader's answers to one endpoint, in the order of the arms; `change` against the reference arm."""

    endpoint: str
    answers: tuple[Answer, ...]
    changes: tuple[ChangeKind, ...]

    @property
    def change(self) -> ChangeKind:
        """The one that is shown: harm before help."""
        return "harmed" if "harmed" in self.changes else "helped" if "helped" in self.changes else ""


@dataclass(frozen=True)
class ArmRead:
    """One reader's read of the case in one arm; `state` is empty where it was never opened."""

    arm: Arm
    state: str
    seconds: float | None
    report: str
    remark: str
    recording: UUID | None


@dataclass(frozen=True)
class ReaderRow:
    """One reader's reads of a case, with a cell for each endpoint."""

    reader: str
    cells: tuple[Cell, ...]
    reads: tuple[ArmRead, ...]


@dataclass(frozen=True)
class MarkShown:
    """A mark of a submitted read: where, of what, whose, in which arm."""

    reader: str
    arm: str
    finding: str
    shape: str
    points: list[float]

    def to_dict(self) -> dict[str, Any]:
        return {
            "reader": self.reader,
            "arm": self.arm,
            "finding": self.finding,
            "shape": self.shape,
            "points": self.points,
        }


@dataclass(frozen=True)
class Endpoint:
    """A column of a case's page: truth and GazeX's call of one endpoint."""

    key: str
    truth: bool | None
    call: Call | None


@dataclass(frozen=True)
class CasePage:
    """All that was answered of one case."""

    endpoints: tuple[Endpoint, ...]
    rows: tuple[ReaderRow, ...]
    marks: tuple[MarkShown, ...]
    found: tuple[ReferenceFinding, ...] | None

    @property
    def has_gaze(self) -> bool:
        return any(read.recording for row in self.rows for read in row.reads)

    def read(self, reader: str, arm: str) -> ArmRead | None:
        """A reader's read in an arm; None where the plan has none."""
        rows = (row for row in self.rows if row.reader == reader)
        return next((read for row in rows for read in row.reads if read.arm.key == arm), None)


def case_page(user: Any, study: Study, case: Case, rules: Rules, evidence: Mapping[str, Any] | None) -> CasePage:
    """A case that the person may explore, with the recordings that they may look at."""
    standard = ReferenceStandard.objects.filter(case=case).prefetch_related("findings").first()
    found = None if standard is None else tuple(standard.findings.all())
    endpoints = []
    for key in (ANY, *rules.findings):
        wanted = rules.findings if key == ANY else [key]
        truth = None if found is None else any(one.finding in wanted for one in found)
        endpoints.append(Endpoint(key, truth, call_of(evidence, wanted, truth)))
    recordings = dict(
        recordings_explored_by(user, study).filter(read__assignment__case=case).values_list("read_id", "pk")
    )
    lines = (
        Assignment.objects.filter(case=case, arm__protocol=rules.protocol)
        .select_related("enrolment", "arm", "read", "read__reveal")
        .prefetch_related("read__responses", "read__marks", "read__transcripts")
        .order_by("enrolment__reader_code")
    )
    by_reader: dict[str, dict[int, Assignment]] = defaultdict(dict)
    for line in lines:
        by_reader[line.enrolment.reader_code][line.arm_id] = line
    return CasePage(
        tuple(endpoints),
        tuple(_reader_row(reader, of_arm, rules, endpoints, recordings) for reader, of_arm in by_reader.items()),
        tuple(_marks(by_reader)),
        found,
    )


def _read(line: Assignment | None) -> Read | None:
    return getattr(line, "read", None) if line is not None else None


def _submitted(line: Assignment | None) -> Read | None:
    read = _read(line)
    return read if read is not None and read.state == Read.State.SUBMITTED else None


def _reader_row(
    reader: str,
    of_arm: Mapping[int, Assignment],
    rules: Rules,
    endpoints: Sequence[Endpoint],
    recordings: Mapping[UUID, UUID],
) -> ReaderRow:
    given = {arm.pk: _confidences(_submitted(of_arm.get(arm.pk))) for arm in rules.arms}
    cells = []
    for endpoint in endpoints:
        wanted = rules.findings if endpoint.key == ANY else [endpoint.key]
        answers = [_answer(given[arm.pk], wanted, rules, endpoint.truth) for arm in rules.arms]
        changes = [change_of(answers[0].right, answer.right) for answer in answers[1:]]
        cells.append(Cell(endpoint.key, tuple(answers), tuple(changes)))
    reads = [_arm_read(arm, of_arm.get(arm.pk), recordings) for arm in rules.arms]
    return ReaderRow(reader, tuple(cells), tuple(reads))


def _confidences(read: Read | None) -> dict[str, int]:
    if read is None:
        return {}
    return {one.finding: one.confidence for one in read.responses.all() if one.stage == Stage.FINAL}


def _answer(given: Mapping[str, int], wanted: Sequence[str], rules: Rules, truth: bool | None) -> Answer:
    values = [given[finding] for finding in wanted if finding in given]
    if not values:
        return Answer(None, None)
    return Answer(max(values), None if truth is None else rules.called(max(values)) == truth)


def _arm_read(arm: Arm, line: Assignment | None, recordings: Mapping[UUID, UUID]) -> ArmRead:
    read = _read(line)
    if read is None:
        return ArmRead(arm, "", None, "", "", None)
    done = read.state == Read.State.SUBMITTED
    texts = [one.text for one in read.transcripts.all() if one.stage == Stage.FINAL]
    shown = hasattr(read, "reveal")
    remark = ""
    if done and shown and arm.assistance == Arm.Assistance.NONE:
        remark = "GazeX was shown although the arm is unassisted"
    elif done and not shown and arm.assistance != Arm.Assistance.NONE:
        remark = "GazeX was not shown"
    return ArmRead(
        arm,
        read.state,
        read.seconds if done else None,
        texts[0].strip() if done and texts else "",
        remark,
        recordings.get(read.pk),
    )


def _marks(by_reader: Mapping[str, Mapping[int, Assignment]]) -> Iterable[MarkShown]:
    for reader, of_arm in by_reader.items():
        for line in of_arm.values():
            read = _submitted(line)
            for mark in read.marks.all() if read is not None else ():
                if mark.stage == Stage.FINAL:
                    yield MarkShown(reader, line.arm.key, mark.finding, mark.shape, list(mark.points))
