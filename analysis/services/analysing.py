"""Running the planned analysis of an unblinded comparison and storing what it found."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.utils import timezone

from analysis.models import AnalysisPlan, AnalysisResult, AnalysisRun
from analysis.queries.readings import ReadingsError, arms_of, current_protocol
from analysis.queries.tables import facts_of, files_of, measures_path, sha256_of
from study.models import AuditEntry, Study
from study.services import blobs
from study.services.audit import record
from study.services.errors import Refused

from .plan_body import complete

log = logging.getLogger(__name__)

#: (what is being done, steps done, steps in all).
Progress = Callable[[str, int, int], None]

#: A run that has not moved for this long has lost its worker; the task's own hard limit is shorter.
ABANDONED_AFTER = timedelta(minutes=12)


@cache
def code_version() -> str:
    """The package's version and a hash over the source of all statistics, so that a result names the code that made it.

    The reports it is shown in are not part of it: they compute nothing.
    """
    digest = hashlib.sha256()
    app = Path(__file__).resolve().parents[1]
    sources = [
        *sorted((app / "stats").rglob("*.py")),
        app / "services" / "computing.py",
        app / "queries" / "readings.py",
        app / "queries" / "tables.py",
        app / "queries" / "gaze.py",
        app / "queries" / "text.py",
        app / "services" / "gaze_outcomes.py",
        app / "services" / "text_outcomes.py",
    ]
    for path in sources:
        digest.update(path.relative_to(app).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        release = version("gazeroom")
    except PackageNotFoundError:
        release = "unreleased"
    return f"gazeroom {release}, analysis {digest.hexdigest()[:16]}"


def analyse_study(*, study: Study, actor: Any, progress: Progress | None = None) -> AnalysisResult:
    """Compute everything the plan asks for and store it as one AnalysisResult.

    The computing happens outside any transaction; one short transaction stores the result and its audit entry.

    Raises:
        Refused: the study is no comparison, is not unblinded, has no locked plan, or its readings cannot be used.
    """
    # Costs two seconds of imports, which a page or a command that computes nothing need not pay.
    from .computing import cases_analysed, guarded, numbers_of, written

    plan = _plan_of(study)
    body = complete(plan.body)
    total = steps(body)
    tell = progress or (lambda step, done, total: None)
    tell("Collecting the tables", 0, total)
    try:
        files = files_of(study)
        protocol, facts = current_protocol(study), facts_of(study, body)
    except ReadingsError as error:
        raise Refused(error.sentence) from error
    if files["readings"].count(b"\n") < 2:
        raise Refused(f"{study.name} has no submitted reads; there is nothing to analyse.")

    numbers = numbers_of(files, facts, progress=lambda step, done, _: tell(step, done + 1, total))
    measures: list[Any] = []
    options = {"study": study, "body": body, "arms": arms_of(study), "only": cases_analysed(files, body["missing"])}
    for place, (name, words, function) in enumerate(_beside_the_tables()):
        tell(words, total - len(BESIDE) - 1 + place, total)
        values: list[Any] = []
        numbers[name] = guarded(partial(function, **options, values=values))
        measures += values
    files["measures"] = written("measures", measures)
    hashes = sha256_of(files)
    blobs.write(measures_path(hashes["measures.csv"]), files["measures"])
    inputs: dict[str, Any] = {
        "readings": files["readings"].count(b"\n") - 1,
        "readings_sha256": hashes["readings.csv"],
        "tables": hashes,
        "facts": facts,
        "plan_sha256": plan.sha256,
        "protocol_sha256": protocol.sha256,
        "assignments_sha256": protocol.plan_sha256,
        "model_sha256": facts["model_sha256"],
    }
    tell("Storing the result", total, total)
    with transaction.atomic():
        result = AnalysisResult(
            study=study,
            plan=plan,
            inputs=inputs,
            inputs_sha256=inputs["readings_sha256"],
            code_version=code_version(),
            numbers=numbers,
            made_by=actor,
        )
        result.full_clean()
        result.save()
        record(
            actor=actor,
            act=AuditEntry.Act.ANALYSED,
            subject=f"Study {study.slug}",
            detail={"result": str(result.pk), "inputs_sha256": result.inputs_sha256, "code": result.code_version},
        )
    return result


def steps(body: dict[str, Any]) -> int:
    """How many steps of progress a plan takes: what is computed, the collecting before it and the storing."""
    from analysis.stats.reader_study.compute import steps as computed

    return computed(body) + len(BESIDE) + 1


#: Parts of a result that are measured on recordings and reports; a table holds what was compared of them.
BESIDE = ("gaze", "text")


def _beside_the_tables() -> list[tuple[str, str, Callable[..., dict[str, Any]]]]:
    from .gaze_outcomes import compute_gaze
    from .text_outcomes import compute_text

    return [
        ("gaze", "Comparing how readers looked", compute_gaze),
        ("text", "Comparing what readers wrote", compute_text),
    ]


@transaction.atomic
def request_run(*, study: Study, actor: Any) -> AnalysisRun:
    """Queue the analysis, or return the run that is under way.

    Raises:
        Refused: as :func:`analyse_study`.
    """
    from analysis.tasks import run_analysis

    _plan_of(study)
    Study.objects.select_for_update().get(pk=study.pk)  # two clicks at once make one run
    active = AnalysisRun.objects.filter(study=study, state__in=_ACTIVE).first()
    if active is not None:
        if active.touched_at > timezone.now() - ABANDONED_AFTER:
            return active
        active.state = AnalysisRun.State.FAILED
        active.sentence = "The worker that ran it stopped; run the analysis again."
        active.save()
    run = AnalysisRun(study=study, requested_by=actor, step="Waiting for a worker")
    run.full_clean()
    run.save()
    run_analysis.delay_on_commit(run_id=str(run.pk))
    return run


def perform(*, run_id: str) -> AnalysisRun | None:
    """Do a queued run. None when another worker has it already, or it is over."""
    claimed = AnalysisRun.objects.filter(pk=run_id, state=AnalysisRun.State.QUEUED).update(
        state=AnalysisRun.State.RUNNING, step="Starting", touched_at=timezone.now()
    )
    if not claimed:
        return None  # another worker got there first, or the run was given up
    run = AnalysisRun.objects.select_related("study", "requested_by").get(pk=run_id)

    def progress(step: str, done: int, total: int) -> None:
        AnalysisRun.objects.filter(pk=run_id).update(step=step, done=done, total=total, touched_at=timezone.now())

    try:
        result = analyse_study(study=run.study, actor=run.requested_by, progress=progress)
    except Refused as refused:
        return fail(run_id=run_id, sentence=refused.sentence)
    except SoftTimeLimitExceeded:
        return fail(run_id=run_id, sentence="The analysis took longer than ten minutes and was stopped.")
    except Exception:
        log.exception("analysis run failed", extra={"run": run_id})
        fail(run_id=run_id, sentence="The analysis stopped with an error; the worker's log has the details.")
        raise
    AnalysisRun.objects.filter(pk=run_id, state=AnalysisRun.State.RUNNING).update(
        state=AnalysisRun.State.SUCCEEDED, step="Done", result=result, touched_at=timezone.now()
    )
    run.refresh_from_db()
    return run


def fail(*, run_id: str, sentence: str) -> AnalysisRun:
    """Mark a run as failed, with the reason."""
    AnalysisRun.objects.filter(pk=run_id, state__in=_ACTIVE).update(
        state=AnalysisRun.State.FAILED, sentence=sentence, touched_at=timezone.now()
    )
    return AnalysisRun.objects.get(pk=run_id)


_ACTIVE = (AnalysisRun.State.QUEUED, AnalysisRun.State.RUNNING)


def _plan_of(study: Study) -> AnalysisPlan:
    if study.kind != Study.Kind.COMPARISON:
        raise Refused(f"{study.name} is a collection of gaze; only a comparison of arms is analysed.")
    if study.state != Study.State.UNBLINDED:
        raise Refused(f"{study.name} is {study.get_state_display().lower()}; it is analysed once it is unblinded.")
    plan = AnalysisPlan.objects.filter(study=study, locked_at__isnull=False).first()
    if plan is None:
        raise Refused(f"{study.name} has no locked analysis plan; it cannot be analysed.")
    return plan
