"""The endpoints of a study: each compared over readers and cases, with what it is drawn with and what it decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.curves import average_roc, empirical_roc, pooled_roc
from analysis.stats.laws import t_above
from analysis.stats.mrmc import Result, analyze
from analysis.stats.multiplicity import ADJUSTMENTS
from analysis.stats.ratings import RatingsError

from .reasons import because
from .tables import ANY, Tables, endpoint_readings

#: What sentences call a figure of merit.
FOM_WORDS = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "partial_auc": "partial AUC (specificity from 0.8)",
    "wafroc": "wAFROC",
    "time": "reading time",
}
#: A partial AUC is over these false-positive fractions, standardised after McClish: ½ is chance, 1 perfect.
PARTIAL = (0.0, 0.2)


def label_of(finding: str) -> str:
    """What pages call a finding of an endpoint."""
    return "any finding" if finding == ANY else finding


def key_of(endpoint: dict[str, Any]) -> str:
    """What addresses and files call an endpoint."""
    if endpoint["fom"] == "auc":
        return str(endpoint["finding"])
    return "time" if endpoint["fom"] == "time" else f"{endpoint['fom']} {endpoint['finding']}"


def words_of(endpoint: dict[str, Any]) -> str:
    """ "AUC for any finding", "reading time"."""
    fom = FOM_WORDS[endpoint["fom"]]
    return fom if endpoint["fom"] == "time" else f"{fom} for {label_of(endpoint['finding'])}"


def described(endpoint: dict[str, Any]) -> dict[str, Any]:
    """What a result says of an endpoint before anything is computed."""
    return {
        "key": key_of(endpoint),
        "finding": endpoint["finding"],
        "label": label_of(endpoint["finding"]),
        "fom": endpoint["fom"],
        "fom_words": FOM_WORDS[endpoint["fom"]],
        "words": words_of(endpoint),
        "primary": endpoint["role"] == "primary",
        "hypothesis": endpoint["hypothesis"],
        "margin": endpoint["margin"],
        "error": "",
        "result": None,
        "curves": {},
        "scores": {},
        "changes": {},
        "verdicts": [],
    }


def compared(tables: Tables, endpoint: dict[str, Any], plan: dict[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    """One endpoint of the plan that is a figure of merit of ratings or marks."""
    out = described(endpoint)
    readings = tables.readings
    table = endpoint_readings(readings, endpoint["finding"])
    try:
        result = figure_of_merit(tables, readings, endpoint, plan)
    except RatingsError as error:
        out["error"] = str(error)
    else:
        out["result"] = result.to_dict()
        out["verdicts"] = [
            verdict(comparison, endpoint, plan) for comparison in out["result"]["comparisons"]
            if comparison["treatments"][1] == plan["reference_arm"]
        ]  # fmt: skip
    if endpoint["fom"] == "auc":
        out["curves"] = {arm: curves(table[table["arm"] == arm], plan["threshold"]) for arm in arms}
    if endpoint["fom"] != "wafroc":
        out["scores"] = {arm: scores(table[table["arm"] == arm]) for arm in arms}
        out["changes"] = {
            arm: changes(table, plan["reference_arm"], arm, plan["threshold"])
            for arm in arms
            if arm != plan["reference_arm"]
        }
    return out


def figure_of_merit(tables: Tables, readings: pd.DataFrame, endpoint: dict[str, Any], plan: dict[str, Any]) -> Result:
    """The library's result for an endpoint over the readings given, which may be those of a subgroup.

    Raises:
        RatingsError: the readings cannot be analysed.
    """
    table = endpoint_readings(readings, endpoint["finding"]).rename(columns={"arm": "treatment"})
    if len(table) and plan["reference_arm"] not in set(table["treatment"]):
        raise RatingsError("No read of the reference arm was submitted; there is nothing to compare with.")
    margin = endpoint["margin"]
    options = {
        "random": plan["random"],
        "margin": margin,
        "reference": plan["reference_arm"],
        "alpha": plan["alpha"],
    }
    if endpoint["fom"] == "wafroc":
        from .marking import wafroc

        return wafroc(tables, table, endpoint["finding"], plan, options)
    options["equivalence"] = endpoint["hypothesis"] == "equivalence"
    if endpoint["fom"] in ("sensitivity", "specificity"):
        options["threshold"] = float(plan["threshold"])
    if endpoint["fom"] == "partial_auc":
        options |= {"fpr": PARTIAL, "standardise": "mcclish"}
    return analyze(table, fom=endpoint["fom"], covariance=plan["covariance"], **options)


def verdict(comparison: dict[str, Any], endpoint: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """What the endpoint's hypothesis asks of one comparison, and whether it was shown.

    Superiority: the difference is above zero and its two-sided p at most alpha. Non-inferiority: one-sided at alpha/2.
    Equivalence: two one-sided tests at alpha/2 (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15:657,
    1987), which is that the two-sided interval lies within the margins. The library's own tests where it made them.
    """
    hypothesis, margin = endpoint["hypothesis"], endpoint["margin"]
    out: dict[str, Any] = {
        "arm": comparison["treatments"][0],
        "hypothesis": hypothesis,
        "margin": margin,
        "p": None,
        "shown": None,
        "not_estimable": comparison["not_estimable"],
    }
    if hypothesis == "superiority":
        difference, out["p"] = comparison["difference"], comparison["p"]
        out["shown"] = None if out["p"] is None else bool(difference > 0 and out["p"] <= plan["alpha"])
        return out
    made = comparison.get(hypothesis)
    if made is not None:
        return {**out, "p": made["p"], "shown": made["shown"]}
    difference, se = comparison["difference"], comparison["se"]
    if difference is None or se is None or not se > 0:
        return out
    df = math.inf if comparison["df"] in (None, "infinite") else comparison["df"]
    above, below = t_above((difference + margin) / se, df), t_above((margin - difference) / se, df)
    out["p"] = above if hypothesis == "noninferiority" else max(above, below)
    out["shown"] = bool(out["p"] < plan["alpha"] / 2)
    return out


def adjusted(endpoints: list[dict[str, Any]], rule: str, alpha: float) -> dict[str, Any]:
    """The secondary endpoints' p-values adjusted for their number, by the rule of the plan.

    One-sided p-values of non-inferiority and equivalence enter doubled, so that all are on the two-sided scale. With
    several arms every comparison with the reference is one of the family.
    """
    rows = []
    for endpoint in endpoints:
        if endpoint["primary"]:
            continue
        for found in endpoint["verdicts"]:
            p = found["p"]
            if p is not None and found["hypothesis"] != "superiority":
                p = min(1.0, 2 * p)
            rows.append({"key": endpoint["key"], "words": endpoint["words"], "arm": found["arm"], "p": p})
    adjust = ADJUSTMENTS.get(rule)
    values = [None] * len(rows) if adjust is None else adjust([row["p"] for row in rows])
    for row, value in zip(rows, values, strict=True):
        row["p_adjusted"] = value
        row["significant"] = None if value is None else value <= alpha
    return {"rule": rule, "rows": rows}


def curves(table: pd.DataFrame, threshold: int) -> dict[str, Any]:
    """Every reader's curve and operating point, their average, and the pooled points; empty where a class is absent."""
    readers, points = {}, {}
    for reader, own in table.groupby("reader"):
        truth, rating = own["truth"].to_numpy(), own["rating"].to_numpy(dtype=float)
        if len(set(truth.tolist())) == 2:
            readers[str(reader)] = empirical_roc(truth, rating)
            points[str(reader)] = operating_point(truth, rating, threshold)
    if not readers:
        return {"readers": {}, "points": {}, "average": None, "pooled": None}
    average = average_roc(list(readers.values()))
    pooled = pooled_roc(table["truth"].to_numpy(), table["rating"].to_numpy(dtype=float)[None, :])
    return {
        "readers": {name: {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()} for name, curve in readers.items()},
        "points": points,
        "average": {"fpr": average.fpr.tolist(), "tpr": average.tpr.tolist()},
        "pooled": {
            "fpr": pooled.fpr[1:-1].tolist(),
            "tpr": pooled.tpr[1:-1].tolist(),
            "thresholds": pooled.thresholds[1:-1].tolist(),
        },
    }


def operating_point(truth: np.ndarray, rating: np.ndarray, threshold: float) -> dict[str, float]:
    """Sensitivity and false-positive fraction of calling positive at ``threshold`` or more; both classes are there."""
    called, diseased = rating >= threshold, truth == 1
    return {"tpr": float(called[diseased].mean()), "fpr": float(called[~diseased].mean())}


def scores(table: pd.DataFrame) -> dict[str, list[int]]:
    """How often each confidence 1–5 was given, to diseased and to non-diseased cases."""
    return {
        name: [int(((table["truth"] == truth) & (table["rating"] == step)).sum()) for step in range(1, 6)]
        for name, truth in (("diseased", 1), ("nondiseased", 0))
    }


def changes(table: pd.DataFrame, reference: str, arm: str, threshold: int) -> dict[str, Any]:
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


def subgroups(tables: Tables, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The primary endpoint's difference within each subgroup of cases, with its interval and no p-value.

    By finding, a level holds the cases with that finding and all cases without any.

    Raises:
        RatingsError: the primary endpoint is reading time, which is no figure of merit of cases.
    """
    primary = plan["endpoints"][0]
    if primary["fom"] == "time" and plan["subgroups"]:
        raise RatingsError("The primary endpoint is reading time, which is not compared within subgroups of cases.")
    out: list[dict[str, Any]] = []
    for group in plan["subgroups"]:
        for level, cases in _levels(tables.cases, group):
            row: dict[str, Any] = {"group": group, "level": level, "cases": len(cases), "comparisons": [], "error": ""}
            readings = tables.readings[tables.readings["case"].isin(cases)]
            try:
                if readings.empty:
                    raise RatingsError("no read of such a case was submitted")
                found = figure_of_merit(tables, readings, primary, plan).to_dict()
            except RatingsError as error:
                row["error"] = because(error)
            else:
                row |= {"diseased": found["diseased"], "nondiseased": found["nondiseased"]}
                row["comparisons"] = [
                    {name: comparison[name] for name in ("treatments", "difference", "se", "df", "ci", "not_estimable")}
                    for comparison in found["comparisons"]
                    if comparison["treatments"][1] == plan["reference_arm"]
                ]
            out.append(row)
    return out


def _levels(cases: pd.DataFrame, group: str) -> list[tuple[str, list[str]]]:
    """(level, its cases). One level only is no subgroup and gives none; cases of which it is not known are a level."""
    if group == "finding":
        found = {
            case: [f for f in text.split("; ") if f]
            for case, text in zip(cases["case"], cases["findings"], strict=True)
        }
        normal = [case for case, names in found.items() if not names]
        names = sorted({name for own in found.values() for name in own})
        levels = [(name, normal + [case for case, own in found.items() if name in own]) for name in names]
    else:
        column = cases[group].replace("", "not known")
        levels = [(str(level), cases.loc[column == level, "case"].tolist()) for level in sorted(column.unique())]
    return levels if len(levels) > 1 else []
