"""Outcomes beside the endpoints: reliance on GazeX, GazeX alone, calibration, agreement, smooth curves.

Each takes the tables, the plan and the arms and gives plain values; :func:`.compute.guarded` says why where it cannot.
All are about the finding of the primary endpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.ratings import RatingsError

from .reasons import because
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
        if own.empty:
            out["arms"][arm["key"]] = {"not_estimable": because("No read of this arm was submitted.")}
            continue
        ours = said[said["case"].isin(own["case"])].assign(reader=AI, arm=arm["key"], rating=said["probability"])
        frame = pd.concat([own, ours])[["reader", "arm", "case", "truth", "rating"]].rename(
            columns={"arm": "treatment"}
        )
        covariance = plan["covariance"] if plan["covariance"] != "ustat" else "unbiased"
        try:
            found = compare(frame, AI, covariance=covariance, random=plan["random"], alpha=plan["alpha"])
            out["arms"][arm["key"]] = {"not_estimable": "", **found.to_dict()}
        except RatingsError as error:
            out["arms"][arm["key"]] = {"not_estimable": because(error)}
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
        readers: dict[str, dict[str, Any]] = {}
        found: list[float | None] = []
        for reader, mine in own.groupby("reader"):
            fit = fit_proper(mine["truth"].to_numpy(), mine["rating"].to_numpy(dtype=float), alpha=plan["alpha"])
            found.append(fit.auc.estimate)
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
        areas = [area for area in found if area is not None]
        out["arms"][arm["key"]] = {
            "readers": readers,
            "mean": float(np.mean(areas)) if areas and len(areas) == len(readers) else None,
            "pooled": curve,
            "not_estimable": pooled.not_estimable,
        }
    return out


def reliance(tables: Tables, plan: dict[str, Any], arms: list[dict[str, Any]]) -> dict[str, Any]:
    """What readers did with GazeX's advice that was right, and with advice that was wrong.

    GazeX advises "present" from a probability of :data:`CALLED_FROM`; a reader decides it from the plan's threshold. In
    an arm that locks the reader's own answers first these are the unaided decisions; else those of the reference arm,
    where it is unassisted. Of findings beside the primary one the rates and switches are kept.
    """
    from analysis.stats.reliance import reliance as rely

    finding = plan["endpoints"][0]["finding"]
    others = [name for name in sorted(tables.readings["finding"].unique()) if name != finding]
    reference = next(arm for arm in arms if arm["key"] == plan["reference_arm"])
    out: dict[str, Any] = {"finding": finding, "called_from": CALLED_FROM, "arms": {}}
    for arm in arms:
        if arm["assistance"] == "none":
            continue
        sequential = arm["assistance"] in ("on_request", "second_read")
        if not sequential and (arm is reference or reference["assistance"] != "none"):
            reason = "not estimable, because no unassisted arm is the reference: the readers' own decisions are unknown"
            out["arms"][arm["key"]] = {"not_estimable": reason}
            continue
        own: dict[str, Any] = {"not_estimable": "", "design": "sequential" if sequential else "crossover", "others": {}}
        try:
            for name in (finding, *others):
                frame = _decisions(tables, plan, arm["key"], name, sequential=sequential)
                found = rely(frame, design=own["design"], alpha=plan["alpha"]).to_dict()
                if name == finding:
                    own["all"] = found
                else:
                    own["others"][name] = {part: found[part] for part in ("pairs", "rates", "switches", "warnings")}
        except RatingsError as error:
            own["not_estimable"] = because(error)
        out["arms"][arm["key"]] = own
    if not out["arms"]:
        raise RatingsError("No arm of the study is assisted.")
    return out


def _decisions(tables: Tables, plan: dict[str, Any], arm: str, finding: str, *, sequential: bool) -> pd.DataFrame:
    """One row per reader, case and way of reading: ``reader, case, arm, truth, decision, advice, confidence``."""
    said = advice(tables.assistance, finding)
    if said.empty:
        raise RatingsError("No probabilities of GazeX are stored for these cases.")
    final = endpoint_readings(tables.readings, finding)
    before = endpoint_readings(tables.initial, finding) if sequential else final
    unaided = before[before["arm"] == (arm if sequential else plan["reference_arm"])].assign(way="unaided")
    aided = final[final["arm"] == arm].assign(way="aided")
    frame = pd.concat([unaided, aided])[["reader", "case", "way", "truth", "rating"]]
    advised = dict(zip(said["case"], (said["probability"] >= CALLED_FROM).astype(int), strict=True))
    frame = frame[frame["case"].isin(advised)]
    return frame.assign(
        arm=frame["way"],
        decision=(frame["rating"] >= plan["threshold"]).astype(int),
        advice=[advised[case] for case in frame["case"]],
        confidence=frame["rating"].astype(float),
    )[["reader", "case", "arm", "truth", "decision", "advice", "confidence"]].reset_index(drop=True)


def agreement(tables: Tables, plan: dict[str, Any], arms: list[dict[str, Any]]) -> dict[str, Any]:
    """How far readers agree within each arm: on their confidence, and on what they called present."""
    from analysis.stats.agreement import fleiss_kappa, gwet_ac, icc, krippendorff_alpha

    finding, alpha = plan["endpoints"][0]["finding"], plan["alpha"]
    table = endpoint_readings(tables.readings, finding)
    if table["reader"].nunique() < 2:
        raise RatingsError("There is one reader: nobody to agree with.")
    out: dict[str, Any] = {"finding": finding, "arms": {}}
    for arm in arms:
        own = table[table["arm"] == arm["key"]].pivot(index="case", columns="reader", values="rating")
        if own.empty:
            out["arms"][arm["key"]] = []
            continue
        confidence = own.to_numpy(dtype=float)
        called = np.where(np.isnan(confidence), np.nan, (confidence >= plan["threshold"]).astype(float))
        steps, decisions = [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 1.0]
        rows: list[tuple[str, Any]] = [
            ("confidence", gwet_ac(confidence, weights="quadratic", categories=steps, alpha=alpha)),
            ("confidence", krippendorff_alpha(confidence, level="ordinal", categories=steps, alpha=alpha)),
            ("called present", gwet_ac(called, categories=decisions, alpha=alpha)),
            ("called present", fleiss_kappa(called, categories=decisions, alpha=alpha)),
        ]
        found = [{"of": of, **dataclasses.asdict(one)} for of, one in rows]
        if np.isnan(confidence).any() or min(confidence.shape) < 2:
            why = "not estimable, because it needs two cases and every reader's rating of every case"
            found.append({"of": "confidence", "coefficient": "ICC(2,1)", "estimate": None, "not_estimable": why})
        else:
            form = icc(confidence, alpha=alpha)["(2,1)"]
            found.append({"of": "confidence", "coefficient": "ICC(2,1)", **dataclasses.asdict(form)})
        out["arms"][arm["key"]] = found
    return out


def calibrated(tables: Tables, plan: dict[str, Any], arms: list[dict[str, Any]]) -> dict[str, Any]:
    """Calibration of confidence in each arm, of GazeX's probabilities, and the difference in Brier score."""
    from analysis.stats.calibration import FIVE_STEPS, calibration, compare_brier

    finding, alpha = plan["endpoints"][0]["finding"], plan["alpha"]
    table = endpoint_readings(tables.readings, finding).rename(columns={"arm": "treatment"})
    found = calibration(table, "rating", scale=FIVE_STEPS, alpha=alpha)
    out: dict[str, Any] = {
        "finding": finding,
        "arms": {arm: dataclasses.asdict(one) for arm, one in found.items()},
        "model": None,
        "brier": compare_brier(
            table, "rating", scale=FIVE_STEPS, random=plan["random"], alpha=alpha, reference=plan["reference_arm"]
        ).to_dict(),
    }
    said = advice(tables.assistance, finding)
    if not said.empty:
        alone = calibration(said.assign(reader=AI), alpha=alpha)
        out["model"] = dataclasses.asdict(next(iter(alone.values())))
    return out


#: By their place in a result: what is being done, and the function that does it.
OUTCOMES: dict[str, tuple[str, Outcome]] = {
    "reliance": ("Looking at reliance on GazeX", reliance),
    "standalone": ("Setting GazeX alone against the readers", standalone),
    "calibration": ("Looking at the calibration of confidence", calibrated),
    "agreement": ("Looking at agreement between readers", agreement),
    "smooth": ("Fitting smooth ROC curves", smooth),
}
