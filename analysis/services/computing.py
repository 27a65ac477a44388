"""Computing what a plan asks for from a table of readings. Reads and writes no database."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis import stats
from analysis.queries.readings import endpoint_readings, label_of
from analysis.stats.curves import average_roc, empirical_roc, pooled_roc
from analysis.stats.mrmc import plain
from analysis.stats.ratings import RatingsError
from analysis.stats.reading_time import ReadingTime, reading_time
from study.models import Arm

SCHEMA = "gazeroom.analysis/1"


def compute(
    frame: pd.DataFrame, body: dict[str, Any], arms: list[Arm], *, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Every number of a result, fit for JSON.

    Args:
        frame: from :func:`analysis.queries.readings.readings`.
        body: an analysis plan's.
        arms: the study's, the unassisted one first.
        progress: called before each step with what is done, the steps done and the steps in all.
    """
    endpoints = [body["primary"], *body["secondary"]]
    total = len(endpoints) + 2
    found = []
    for position, endpoint in enumerate(endpoints):
        progress(f"Comparing the arms on {label_of(endpoint)}", position, total)
        found.append(_endpoint(frame, endpoint, body, arms, primary=position == 0))
    progress("Modelling the reading time", total - 2, total)
    numbers: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "plan": body,
            "arms": [{"key": arm.key, "name": arm.name, "assistance": arm.assistance} for arm in arms],
            "readers": sorted(frame["reader"].unique()),
            "cases": int(frame["case"].nunique()),
            "reads": len(frame[["reader", "case", "arm"]].drop_duplicates()),
            "endpoints": found,
            "time": _times(frame, body, arms),
        }
    )
    return numbers


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
