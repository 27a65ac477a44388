"""The explorer: an unblinded comparison case by case and reader by reader. Its addresses hold its whole state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from analysis.queries.explorer import (
    CALLED_FROM,
    ArmRead,
    CasePage,
    Line,
    ReaderRow,
    Rules,
    case_lines,
    case_page,
    cases_explored_by,
    recordings_explored_by,
    rules_of,
    studies_explored_by,
)
from analysis.queries.readings import ANY, label_of
from capture.services.replay import replay
from study.models import Case, Image, ReferenceFinding, Study
from study.queries.reading import shown_image
from study.services.assistance import caveats_of, output_for
from study.services.errors import Refused
from study.views.frames import frame_response
from study.views.support import endpoint, page

PAGE: Final = 50
#: What the list can be narrowed to, and what a page calls it.
ONLY: Final = {
    "disagreement": "readers disagree",
    "gazex-wrong": "GazeX wrong",
    "harmed": "right → wrong",
    "helped": "wrong → right",
}
TRUTHS: Final = {"": "all cases", "present": "cases with it", "absent": "cases without it"}


@dataclass(frozen=True)
class Choice:
    """What the list shows and in which order; a case's page keeps it for its neighbours. `of`: one reader's cases."""

    finding: str
    of: str = ""
    truth: str = ""
    only: tuple[str, ...] = ()
    sort: str = "case"

    def query(self, **changes: Any) -> str:
        """The choice as a query string."""
        changed = replace(self, **changes)
        pairs = [("finding", changed.finding)]
        pairs += [("of", changed.of)] if changed.of else []
        pairs += [("truth", changed.truth)] if changed.truth else []
        pairs += [("only", name) for name in changed.only]
        pairs += [("sort", changed.sort)] if changed.sort != "case" else []
        return urlencode(pairs)

    def takes(self, line: Line) -> bool:
        kept = {
            "disagreement": line.disagreement,
            "gazex-wrong": line.gazex_wrong,
            "harmed": line.harmed > 0,
            "helped": line.helped > 0,
        }
        right_truth = not self.truth or line.truth is (self.truth == "present")
        return right_truth and all(kept[name] for name in self.only)


def _choice(request: HttpRequest, rules: Rules, readers: Sequence[str]) -> Choice:
    """What the address asks for.

    Raises
    ------
    Http404
        Where it names a finding, reader, filter or order that the page does not have.
    """
    asked = Choice(
        finding=request.GET.get("finding") or rules.primary,
        of=request.GET.get("of", ""),
        truth=request.GET.get("truth", ""),
        only=tuple(name for name in ONLY if name in request.GET.getlist("only")),
        sort=request.GET.get("sort") or "case",
    )
    if asked.finding not in (ANY, *rules.findings):
        raise Http404("The study does not ask for this finding.")
    if asked.of and asked.of not in readers:
        raise Http404("The study has no such reader.")
    if asked.truth not in TRUTHS or set(request.GET.getlist("only")) - set(ONLY):
        raise Http404("There is no such filter.")
    if asked.sort.removeprefix("-") not in {key for key, _, _ in _columns(rules)}:
        raise Http404("There is no such order.")
    return asked


def _columns(rules: Rules) -> list[tuple[str, str, bool]]:
    """What can be sorted by: its key, its heading, whether it is a number (which comes largest first)."""
    several = len(rules.arms) > 2
    columns = [("case", "Case", False), ("truth", "Truth", False), ("gazex", "GazeX", False)]
    columns += [(f"right-{arm.key}", f"{arm.name}: right", True) for arm in rules.arms]
    for arm in rules.arms[1:]:
        of = f"{arm.name}: " if several else ""
        columns += [
            (f"helped-{arm.key}", f"{of}wrong → right", True),
            (f"harmed-{arm.key}", f"{of}right → wrong", True),
        ]
    return columns


def _sorted(lines: list[Line], sort: str) -> list[Line]:
    """By the column, then by label; `-` turns the column's order and leaves the labels'."""

    def value(line: Line) -> Any:
        kind, _, arm = sort.removeprefix("-").partition("-")
        if kind == "truth":
            return (line.truth is None, not line.truth, line.found)
        if kind == "gazex":
            call = line.call
            return (2, 0.0) if call is None else (0 if call.right is False else 1, -call.probability)
        if kind == "right":
            return next(tally.share for tally in line.tallies if tally.arm.key == arm)
        if kind in ("helped", "harmed"):
            return next(getattr(change, kind) or 0 for change in line.changes if change.arm.key == arm)
        return line.label

    # Lines come by label, and Python's sort keeps the order of equals, in reverse too.
    return sorted(lines, key=value, reverse=sort.startswith("-"))


def _study(request: HttpRequest, slug: str) -> Study:
    return get_object_or_404(studies_explored_by(request.user), slug=slug)


def _lines(request: HttpRequest, study: Study, rules: Rules, choice: Choice) -> tuple[list[Line], int]:
    """The cases that were asked for, in their order, and of how many."""
    every = case_lines(cases_explored_by(request.user, study), rules, choice.finding, choice.of)
    return _sorted([line for line in every if choice.takes(line)], choice.sort), len(every)


@page
@never_cache
@require_safe
def case_list(request: HttpRequest, slug: str) -> HttpResponse:
    """The study's cases as a table: who was right in which arm, what changed, and whether GazeX was right."""
    study = _study(request, slug)
    rules = rules_of(study)
    readers = _readers(study)
    choice = _choice(request, rules, readers)
    lines, total = _lines(request, study, rules, choice)
    shown = Paginator(lines, PAGE).get_page(request.GET.get("page"))
    context = {
        "study": study,
        "rules": rules,
        "choice": choice,
        "query": choice.query(),
        "readers": readers,
        "shown": shown,
        "count": len(lines),
        "total": total,
        "withheld": rules.protocol.study_cases.count() - total,
        "headings": [_heading(column, choice) for column in _columns(rules)],
        "endpoints": [(key, label_of(key).capitalize() if key == ANY else key) for key in (ANY, *rules.findings)],
        "endpoint": label_of(choice.finding),
        "only": [(name, words, name in choice.only) for name, words in ONLY.items()],
        "truths": TRUTHS.items(),
        "called_from": CALLED_FROM,
    }
    return render(request, "analysis/explorer.html", context)


def _heading(column: tuple[str, str, bool], choice: Choice) -> dict[str, Any]:
    """A column's heading: its link sorts by it, numbers largest first, and turns the order when it is used already."""
    key, words, number = column
    first, second = (f"-{key}", key) if number else (key, f"-{key}")
    now = {key: "ascending", f"-{key}": "descending"}.get(choice.sort)
    return {
        "words": words,
        "number": number,
        "now": now,
        "query": choice.query(sort=second if choice.sort == first else first),
    }


@page
@never_cache
@require_safe
def case_detail(request: HttpRequest, slug: str, label: str) -> HttpResponse:
    """One case: image, reference, marks and GazeX's boxes; every answer; a reader's gaze beside GazeX's inspection."""
    study = _study(request, slug)
    case = get_object_or_404(cases_explored_by(request.user, study), label=label)
    rules = rules_of(study)
    choice = _choice(request, rules, _readers(study))
    image = shown_image(case)
    if image is None:
        raise Http404("This case has no image.")
    output = output_for(image=image, model_sha256=rules.protocol.body.get("model_sha256"))
    evidence = output.evidence if output else None
    found = case_page(request.user, study, case, rules, evidence)
    reader = _reader(request, choice, found)
    left, right = _sides(request, rules, found, reader)
    lines, _ = _lines(request, study, rules, choice)
    context = {
        "study": study,
        "case": case,
        "rules": rules,
        "choice": choice,
        "query": choice.query(),
        "onward": choice.query() + _kept(request),
        "found": found,
        "columns": [(one, label_of(one.key).capitalize() if one.key == ANY else one.key) for one in found.endpoints],
        "verdict": next(one for one in found.endpoints if one.key == choice.finding),
        "endpoint": label_of(choice.finding),
        "truths": [str(one) for one in found.found or ()],
        "line": next(iter(case_lines(Case.objects.filter(pk=case.pk), rules, choice.finding))),
        "output": output,
        "reader": reader,
        "left": left,
        "right": right,
        "config": _config(study, case, image, rules, found, evidence, reader, left, right),
        "called_from": CALLED_FROM,
        **_neighbours(lines, label),
    }
    return render(request, "analysis/explorer_case.html", context)


def _neighbours(lines: list[Line], label: str) -> dict[str, Any]:
    """Where the case stands in the list it was opened from; nowhere, where that list leaves it out."""
    labels = [line.label for line in lines]
    if label not in labels:
        return {"place": None, "count": len(labels)}
    at = labels.index(label)
    return {
        "place": at + 1,
        "count": len(labels),
        "previous": labels[at - 1] if at > 0 else None,
        "next": labels[at + 1] if at + 1 < len(labels) else None,
    }


def _kept(request: HttpRequest) -> str:
    """The reader and arms that are looked at, for the links to the neighbours."""
    kept = [(name, request.GET[name]) for name in ("reader", "arm", "beside") if name in request.GET]
    return f"&{urlencode(kept)}" if kept else ""


def _readers(study: Study) -> list[str]:
    return list(study.enrolments.order_by("reader_code").values_list("reader_code", flat=True))


def _reader(request: HttpRequest, choice: Choice, found: CasePage) -> ReaderRow | None:
    """The chosen reader, else the one whose cases are listed; nobody, where the plan did not give them this case."""
    code = request.GET.get("reader", choice.of)
    return next((row for row in found.rows if row.reader == code), None)


def _sides(
    request: HttpRequest, rules: Rules, found: CasePage, reader: ReaderRow | None
) -> tuple[ArmRead | None, ArmRead | None]:
    """The read whose gaze is replayed on the left, and that on the right; None there is GazeX's inspection."""
    arms = [arm.key for arm in rules.arms]
    arm, beside = request.GET.get("arm") or None, request.GET.get("beside") or None
    if (arm is not None and arm not in arms) or (beside is not None and beside not in arms):
        raise Http404("The study has no such arm.")
    if reader is None:
        return None, None
    # Nobody has to name the arm: the first in which this reader's gaze was recorded, else the first.
    recorded = next((read.arm.key for read in reader.reads if read.recording), arms[0])
    left = found.read(reader.reader, arm or recorded)
    right = found.read(reader.reader, beside) if beside is not None else None
    return left, right if right is not None and right.recording and right != left else None


def _config(
    study: Study,
    case: Case,
    image: Image,
    rules: Rules,
    found: CasePage,
    evidence: dict[str, Any] | None,
    reader: ReaderRow | None,
    left: ArmRead | None,
    right: ArmRead | None,
) -> dict[str, Any]:
    """What the page's script draws."""

    def track(read: ArmRead | None) -> str | None:
        if read is None or read.recording is None:
            return None
        return reverse("analysis:explorer_track", args=[study.slug, case.label, read.recording])

    return {
        "frameUrl": reverse("analysis:explorer_frame", args=[study.slug, case.label]),
        **image.for_viewer(),
        "reference": [_reference(one) for one in found.found or () if one.box and one.image_id in (None, image.pk)],
        "arms": [{"key": arm.key, "name": arm.name} for arm in rules.arms],
        "marks": [mark.to_dict() for mark in found.marks],
        "evidence": evidence,
        "caveats": caveats_of(rules.protocol.body.get("model_sha256")),
        "reader": reader.reader if reader else None,
        "leftArm": left.arm.key if left else None,
        "rightArm": right.arm.key if right else None,
        "leftTrack": track(left),
        "rightTrack": track(right),
    }


def _reference(one: ReferenceFinding) -> dict[str, Any]:
    return {"finding": one.finding, "side": one.side, "box": one.box}


@endpoint
@require_safe
def frame(request: HttpRequest, slug: str, label: str) -> HttpResponse:
    """The stored frame of the case's image, for those who may explore the case."""
    case = get_object_or_404(cases_explored_by(request.user, _study(request, slug)), label=label)
    image = shown_image(case)
    if image is None:
        raise Http404("This case has no image.")
    # Permission may end, so the browser asks each time; an unchanged frame costs it no bytes.
    return frame_response(request, image, cache_control="private, no-cache")


@endpoint
@never_cache
@require_safe
def track(request: HttpRequest, slug: str, label: str, recording_id: UUID) -> HttpResponse:
    """The gaze of one read of the case, as the replay reads it."""
    recordings = recordings_explored_by(request.user, _study(request, slug))
    recording = get_object_or_404(recordings, pk=recording_id, read__assignment__case__label=label)
    latest = recording.tracks.first()
    assert latest is not None, "recordings_explored_by names only recordings with a track"
    try:
        return JsonResponse(replay(latest, answers=True))
    except ValueError as error:
        raise Refused(str(error)) from error
