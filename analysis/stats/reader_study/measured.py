"""The outcomes of gaze and reports compared again from the numbers per read that a result's table of measures holds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.stats.means import compare_means, compare_ratios

#: What is compared of an outcome's result; its words are the service's.
PARTS = ("readers", "treatments", "means", "comparisons", "cells", "reader_differences")


def outcomes_of(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every outcome of a result that was compared, by the name it has in the table of measures."""
    found = {}
    for part in ("gaze", "text"):
        own = numbers.get(part, {})
        named = [(one["group"], one) for one in own.get("outcomes", [])]
        named += [("model alone", one) for one in own.get("model", [])]
        for group, one in named:
            if one["result"] is not None:
                found[f"{part}/{group}/{one['key']}"] = one["result"]
    return found


def compared(measures: pd.DataFrame, name: str, stored: dict[str, Any], reference: str) -> dict[str, Any]:
    """The comparison of one outcome from its rows, by the way ``stored`` says it went.

    Raises:
        RatingsError: the rows cannot be compared.
    """
    rows = measures[measures["outcome"] == name].rename(columns={"arm": "treatment"})
    options: dict[str, Any] = {"random": stored["random"], "alpha": stored["alpha"]}
    if reference in set(rows["treatment"]):
        options["reference"] = reference
    weighting: Any = rows["weighting"].iloc[0] if len(rows) else ""
    if weighting:
        return compare_ratios(rows, weighting=weighting, **options).to_dict()
    return compare_means(rows, "value", **options).to_dict()
