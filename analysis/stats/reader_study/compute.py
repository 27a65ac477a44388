"""Everything that is computed of a reader study, from its tables and its plan."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.mrmc import plain
from analysis.stats.ratings import RatingsError
from analysis.stats.reading_time import ReadingTime, reading_time

from . import conduct, endpoints, outcomes
from .reasons import because
from .tables import Tables, cases_used, restricted

SCHEMA = "gazeroom.analysis/2"

log = logging.getLogger(__name__)

#: (what is being done, steps done, steps in all).
Progress = Callable[[str, int, int], None]


def steps(plan: dict[str, Any]) -> int:
    """How many steps of progress :func:`compute` announces."""
    return len(plan["endpoints"]) + 3 + len(outcomes.OUTCOMES)


def compute(tables: Tables, study: dict[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
    """Every number of a result, fit for JSON.

    Args:
        tables: as :func:`analysis.stats.reader_study.tables.parse` reads them.
        study: ``{"slug", "name", "simulated", "plan", "arms": [{"key", "name", "assistance"}], "protocols",
            "closed_early"}``; the plan complete, its primary endpoint first, the unassisted arm first.
        progress: called before each step.

    One outcome that cannot be computed says "not estimable, because …" in its place; the others go on. Where the plan
    uses only complete cases, every outcome does.
    """
    plan, arms = study["plan"], [arm["key"] for arm in study["arms"]]
    total, done = steps(plan), 0

    def step(words: str) -> None:
        nonlocal done
        if progress is not None:
            progress(words, done, total)
        done += 1

    used = restricted(tables, cases_used(tables, plan["missing"]))

    def of_used(function: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        if used.readings.empty and not tables.readings.empty:
            raise RatingsError("No case was read by every reader in every arm, and the plan uses only such cases.")
        return function(used, *given)

    step("Modelling the reading time")
    time = guarded(partial(of_used, times, plan, arms), {"arms": {}, "readers": {}, "models": {}})
    found = []
    for endpoint in plan["endpoints"]:
        step(f"Comparing the arms on {endpoints.words_of(endpoint)}")
        if endpoint["fom"] == "time":
            found.append(_time_endpoint(endpoint, time, plan))
            continue
        made = guarded(partial(of_used, endpoints.compared, endpoint, plan, arms), endpoints.described(endpoint))
        made["error"] = made["error"] or made.pop("not_estimable", "")
        found.append(made)
    step("Looking at subgroups")
    groups = guarded(lambda: of_used(lambda kept: {"rows": endpoints.subgroups(kept, plan)}), {"rows": []})
    numbers: dict[str, Any] = {
        "schema": SCHEMA,
        "study": {name: study[name] for name in ("slug", "name", "simulated")},
        "plan": plan,
        "arms": study["arms"],
        "readers": sorted(tables.readings["reader"].unique()),
        "cases": int(tables.readings["case"].nunique()),
        "reads": len(tables.readings[["reader", "case", "arm"]].drop_duplicates()),
        "endpoints": found,
        "multiplicity": endpoints.adjusted(found, plan["multiplicity"], plan["alpha"]),
        "subgroups": groups,
        "time": time,
    }
    for name, (words, function) in outcomes.OUTCOMES.items():
        step(words)
        numbers[name] = guarded(partial(of_used, function, plan, study["arms"]))
    step("Listing exclusions and deviations")
    numbers["conduct"] = guarded(lambda: conduct.conduct(tables, study), {})
    answer: dict[str, Any] = plain(numbers)
    return answer


def guarded(function: Callable[[], dict[str, Any]], empty: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the function gives; where it fails, ``empty`` with the reason under ``not_estimable``."""
    try:
        return {"not_estimable": "", **plain(function())}
    except RatingsError as error:
        reason = because(error)
    except Exception as error:
        log.exception("an outcome could not be computed")
        reason = because(f"its computation stopped with an error ({type(error).__name__})")
    return {**(empty or {}), "not_estimable": reason}


def times(tables: Tables, plan: dict[str, Any], arms: list[str]) -> dict[str, Any]:
    """Reading time: geometric means per arm and reader, and each arm against the reference by the mixed model."""
    reads = tables.readings.drop_duplicates(["reader", "case", "arm"])
    per_reader: dict[str, dict[str, float | None]] = {}
    for reader, own in reads.groupby("reader"):
        per_reader[str(reader)] = {arm: geometric(own.loc[own["arm"] == arm, "seconds"]) for arm in arms}
    models = {}
    for arm in arms:
        if arm == plan["reference_arm"]:
            continue
        pair = reads[reads["arm"].isin([arm, plan["reference_arm"]])]
        pair = pair.assign(assisted=(pair["arm"] == arm).astype(int))
        try:
            models[arm] = reading_time(pair, alpha=plan["alpha"]).to_dict()
        except RatingsError as error:
            models[arm] = ReadingTime({}, {}, not_estimable=because(error)).to_dict()
    return {
        "arms": {arm: geometric(reads.loc[reads["arm"] == arm, "seconds"]) for arm in arms},
        "readers": per_reader,
        "models": models,
    }


def geometric(seconds: pd.Series) -> float | None:
    """The geometric mean; None where there is none."""
    values = seconds.to_numpy(dtype=float)
    if not len(values) or not (values > 0).all():
        return None
    return math.exp(float(np.log(values).mean()))


def _time_endpoint(endpoint: dict[str, Any], time: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """Reading time as an endpoint: its verdicts from the models' p-values; faster is better."""
    out = {**endpoints.described(endpoint), "error": time["not_estimable"]}
    for arm, model in time["models"].items():
        fixed = {row["term"]: row for row in model["fixed"]}
        p = fixed["assisted"]["p"] if "assisted" in fixed else None
        out["verdicts"].append(
            {
                "arm": arm,
                "hypothesis": "superiority",
                "margin": None,
                "p": p,
                "shown": None if p is None else bool(model["ratio"] < 1 and p <= plan["alpha"]),
                "not_estimable": model["not_estimable"],
            }
        )
    return out
