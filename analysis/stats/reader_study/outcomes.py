"""Outcomes beside the endpoints: reliance on GazeX, GazeX alone, calibration, agreement, smooth curves, gaze and reports.

Each takes the tables, the plan and the arms and gives plain values; :func:`.compute.guarded` says why where it cannot.
All but gaze and reports are about the finding of the primary endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.ratings import RatingsError

from .tables import Tables, advice, endpoint_readings

Outcome = Callable[[Tables, dict[str, Any], list[dict[str, Any]]], dict[str, Any]]

#: GazeX calls a finding present from this probability.
CALLED_FROM = 0.5
#: What tables and figures call GazeX among the readers; no reader's code has a space.
AI = "GazeX alone"


def standalone(tables: Tables, plan: dict[str, Any], arms: list[dict[str, Any]]) -> dict[str, Any]:
    """GazeX alone against the readers of each arm: its stored probabilities as ratings of the same cases."""
    from analysis.stats.curves import empirical_roc
    from analysis.stats.standalone import standalone as compare

    from .endpoints import operating_point

    finding = plan["endpoints"][0]["finding"]
    said = advice(tables.assistance, finding)
    if said.empty:
        raise RatingsError("No probabilities of GazeX are stored for these cases.")
    table = endpoint_readings(tables.readings, finding)
    out: dict[str, Any] = {"finding": finding, "arms": {}, "curve": None, "point": None}
    truth, probability = said["truth"].to_numpy(), said["probability"].to_numpy()
    if len(set(truth.tolist())) == 2:
        curve = empirical_roc(truth, probability)
        out["curve"] = {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()}
        out["point"] = operating_point(truth, probability, CALLED_FROM)
    for arm in arms:
        own = table[table["arm"] == arm["key"]]
        ours = said[said["case"].isin(own["case"])].assign(reader=AI, arm=arm["key"], rating=said["probability"])
        frame = pd.concat([own, ours])[["reader", "arm", "case", "truth", "rating"]].rename(
            columns={"arm": "treatment"}
        )
        covariance = plan["covariance"] if plan["covariance"] != "ustat" else "unbiased"
        try:
            found = compare(frame, AI, covariance=covariance, random=plan["random"], alpha=plan["alpha"])
            out["arms"][arm["key"]] = {"not_estimable": "", **found.to_dict()}
        except RatingsError as error:
            out["arms"][arm["key"]] = {"not_estimable": f"not estimable: {error}"}
    return out


def smooth(tables: Tables, plan: dict[str, Any], arms: list[dict[str, Any]]) -> dict[str, Any]:
    """Proper binormal curves: each reader's area in each arm, and the curve of all ratings of an arm pooled."""
    from analysis.stats.parametric import fit_proper, pooled_fit

    finding = plan["endpoints"][0]["finding"]
    table = endpoint_readings(tables.readings, finding)
    grid = np.linspace(0.0, 1.0, 101)
    out: dict[str, Any] = {"finding": finding, "arms": {}}
    for arm in arms:
        own = table[table["arm"] == arm["key"]]
        readers = {}
        for reader, mine in own.groupby("reader"):
            fit = fit_proper(mine["truth"].to_numpy(), mine["rating"].to_numpy(dtype=float), alpha=plan["alpha"])
            readers[str(reader)] = {
                "auc": fit.auc.estimate,
                "se": fit.auc.se,
                "not_estimable": fit.not_estimable or fit.auc.not_estimable,
            }
        pooled = pooled_fit(own["truth"].to_numpy(), own["rating"].to_numpy(dtype=float)[None, :], model="proper")
        curve = None
        if not pooled.not_estimable:
            line = pooled.curve(grid)
            curve = {"fpr": line.fpr.tolist(), "tpr": line.tpr.tolist()}
        areas = [row["auc"] for row in readers.values() if row["auc"] is not None]
        out["arms"][arm["key"]] = {
            "readers": readers,
            "mean": float(np.mean(areas)) if areas and len(areas) == len(readers) else None,
            "pooled": curve,
            "not_estimable": pooled.not_estimable,
        }
    return out


#: By their place in a result: what is being done, and the function that does it.
OUTCOMES: dict[str, tuple[str, Outcome]] = {
    "standalone": ("Setting GazeX alone against the readers", standalone),
    "smooth": ("Fitting smooth ROC curves", smooth),
}
