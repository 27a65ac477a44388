"""Running the planned analysis of an unblinded comparison and storing what it found."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.utils import timezone

from analysis import stats
from analysis.models import AnalysisPlan, AnalysisResult, AnalysisRun
from analysis.queries.readings import (
    ANY,
    ReadingsError,
    arms_of,
    current_protocol,
    endpoint_readings,
    readings,
    readings_sha256,
    shown_counts,
)
from analysis.stats.curves import average_roc, empirical_roc, pooled_roc
from analysis.stats.mrmc import plain
from analysis.stats.ratings import RatingsError
from analysis.stats.reading_time import ReadingTime, reading_time
from study.models import Arm, AuditEntry, Study
from study.services.audit import record
from study.services.errors import Refused

log = logging.getLogger(__name__)

#: (what is being done, steps done, steps in all).
Progress = Callable[[str, int, int], None]

#: A run that has not moved for this long has lost its worker; the task's own hard limit is shorter.
ABANDONED_AFTER = timedelta(minutes=12)
SCHEMA = "gazeroom.analysis/1"


@cache
def code_version() -> str:
    """The package's version and a hash over the statistics' source, so that a result names the code that made it."""
    digest = hashlib.sha256()
    folder = Path(stats.__file__).parent
    for path in [*sorted(folder.glob("*.py")), Path(__file__), folder.parent / "queries" / "readings.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
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
    plan = _plan_of(study)
    progress = progress or (lambda step, done, total: None)
    endpoints = [plan.body["primary"], *plan.body["secondary"]]
    total = len(endpoints) + 2
    progress("Collecting the readings", 0, total)
    try:
        frame = readings(study)
        protocol, arms = current_protocol(study), arms_of(study)
    except ReadingsError as error:
        raise Refused(error.sentence) from error
    if frame.empty:
        raise Refused(f"{study.name} has no submitted reads; there is nothing to analyse.")

    found = []
    for position, endpoint in enumerate(endpoints):
        progress(f"Comparing the arms on {label_of(endpoint)}", position + 1, total)
        found.append(_endpoint(frame, endpoint, plan.body, arms, primary=position == 0))
    progress("Modelling the reading time", total - 1, total)
    numbers = {
        "schema": SCHEMA,
        "study": {"slug": study.slug, "name": study.name, "simulated": study.simulated},
        "plan": plan.body,
        "arms": [{"key": arm.key, "name": arm.name, "assistance": arm.assistance} for arm in arms],
        "readers": sorted(frame["reader"].unique()),
        "cases": int(frame["case"].nunique()),
        "reads": len(frame[["reader", "case", "arm"]].drop_duplicates()),
        "endpoints": found,
        "time": _times(frame, plan.body, arms),
        "shown": shown_counts(study),
    }
    inputs = {
        "readings": len(frame),
        "readings_sha256": readings_sha256(frame),
        "plan_sha256": plan.sha256,
        "protocol_sha256": protocol.sha256,
        "assignments_sha256": protocol.plan_sha256,
    }
    progress("Storing the result", total, total)
    with transaction.atomic():
        result = AnalysisResult(
            study=study,
            plan=plan,
            inputs=inputs,
            inputs_sha256=inputs["readings_sha256"],
            code_version=code_version(),
            numbers=plain(numbers),
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


def label_of(endpoint: str) -> str:
    """What pages call an endpoint."""
    return "any finding" if endpoint == ANY else endpoint


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


def _endpoint(
    frame: pd.DataFrame, endpoint: str, body: dict[str, Any], arms: list[Arm], *, primary: bool
) -> dict[str, Any]:
    """One endpoint: the comparison, and the curves, scores and changed decisions it is drawn with."""
    table = endpoint_readings(frame, endpoint)
    out: dict[str, Any] = {"key": endpoint, "label": label_of(endpoint), "primary": primary, "error": ""}
    try:
        result = stats.analyze(
            table.rename(columns={"arm": "treatment"}),
            fom=body["fom"],
            covariance=body["covariance"],
            random=body["random"],
            margin=body["margin"] if primary else None,
            reference=body["reference_arm"],
            alpha=body["alpha"],
        )
    except RatingsError as error:
        out["error"] = str(error)
        out["result"] = None
    else:
        out["result"] = result.to_dict()
    out["curves"] = {arm.key: _curves(table[table["arm"] == arm.key]) for arm in arms}
    out["scores"] = {arm.key: _scores(table[table["arm"] == arm.key]) for arm in arms}
    out["changes"] = {
        arm.key: _changes(table, body["reference_arm"], arm.key, body["threshold"])
        for arm in arms
        if arm.key != body["reference_arm"]
    }
    return out


def _curves(table: pd.DataFrame) -> dict[str, Any]:
    """Every reader's curve, their average and the pooled operating points; empty where a class is absent."""
    readers = {}
    for reader, own in table.groupby("reader"):
        if own["truth"].nunique() == 2:
            readers[str(reader)] = empirical_roc(own["truth"].to_numpy(), own["rating"].to_numpy(dtype=float))
    if not readers:
        return {"readers": {}, "average": None, "pooled": None}
    average = average_roc(list(readers.values()))
    pooled = pooled_roc(table["truth"].to_numpy(), table["rating"].to_numpy(dtype=float)[None, :])
    return {
        "readers": {name: {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()} for name, curve in readers.items()},
        "average": {"fpr": average.fpr.tolist(), "tpr": average.tpr.tolist()},
        "pooled": {
            "fpr": pooled.fpr[1:-1].tolist(),
            "tpr": pooled.tpr[1:-1].tolist(),
            "thresholds": pooled.thresholds[1:-1].tolist(),
        },
    }


def _scores(table: pd.DataFrame) -> dict[str, list[int]]:
    """How often each confidence 1–5 was given, to diseased and to non-diseased cases."""
    return {
        name: [int(((table["truth"] == truth) & (table["rating"] == step)).sum()) for step in range(1, 6)]
        for name, truth in (("diseased", 1), ("nondiseased", 0))
    }


def _changes(table: pd.DataFrame, reference: str, arm: str, threshold: int) -> dict[str, Any]:
    """How often the same reader decided otherwise on the same case in ``arm`` than in the reference arm."""
    wide = table.assign(right=(table["rating"] >= threshold) == (table["truth"] == 1)).pivot(
        index=["reader", "case"], columns="arm", values="right"
    )
    if reference not in wide or arm not in wide:
        return {"threshold": threshold, "pairs": 0, "readers": {}}
    both = wide[[reference, arm]].dropna().astype(bool)
    per_reader = {}
    for reader, own in both.groupby(level="reader"):
        before, after = own[reference].to_numpy(), own[arm].to_numpy()
        per_reader[str(reader)] = {
            "pairs": len(own),
            "wrong_to_right": int((~before & after).sum()),
            "right_to_wrong": int((before & ~after).sum()),
        }
    return {"threshold": threshold, "pairs": len(both), "readers": per_reader}


def _times(frame: pd.DataFrame, body: dict[str, Any], arms: list[Arm]) -> dict[str, Any]:
    """Reading time: geometric means per arm and reader, and each arm against the reference by the mixed model."""
    reads = frame.drop_duplicates(["reader", "case", "arm"])
    per_reader: dict[str, dict[str, float | None]] = {}
    for reader, own in reads.groupby("reader"):
        per_reader[str(reader)] = {arm.key: _geometric(own.loc[own["arm"] == arm.key, "seconds"]) for arm in arms}
    models = {}
    for arm in arms:
        if arm.key == body["reference_arm"]:
            continue
        pair = reads[reads["arm"].isin([arm.key, body["reference_arm"]])]
        pair = pair.assign(assisted=(pair["arm"] == arm.key).astype(int))
        try:
            models[arm.key] = reading_time(pair, alpha=body["alpha"]).to_dict()
        except RatingsError as error:
            models[arm.key] = ReadingTime({}, {}, not_estimable=f"not estimable, because {error}").to_dict()
    return {
        "arms": {arm.key: _geometric(reads.loc[reads["arm"] == arm.key, "seconds"]) for arm in arms},
        "readers": per_reader,
        "models": models,
    }


def _geometric(seconds: pd.Series) -> float | None:
    values = seconds.to_numpy(dtype=float)
    if not len(values) or not (values > 0).all():
        return None
    return math.exp(float(np.log(values).mean()))
