"""Marks as a free-response study: which hit, and the wAFROC of readers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.stats.mrmc import Result
from analysis.stats.ratings import RatingsError, sentence_list

from .tables import ANY, Tables


def wafroc(tables: Tables, table: pd.DataFrame, finding: str, plan: dict[str, Any], options: dict[str, Any]) -> Result:
    """wAFROC over the cases of ``table`` (one row per read, columns reader, treatment, case, truth).

    The lesions of a case weigh alike. Of several marks on one lesion the highest counts.

    Raises:
        RatingsError: a read is missing, a finding has no box, or the library cannot analyse the marks.
    """
    from analysis.stats.froc import analyze_froc

    wanted = table["reader"].nunique() * table["treatment"].nunique() * table["case"].nunique()
    if len(table) != wanted:
        raise RatingsError(
            f"wAFROC needs every reader to read every case in every arm, and {wanted - len(table)} of {wanted} reads "
            "are missing."
        )
    cases = set(table["case"])
    lesions, marks = tables.lesions, tables.marks
    lesions, marks = lesions[lesions["case"].isin(cases)], marks[marks["case"].isin(cases)]
    if finding != ANY:
        lesions, marks = lesions[lesions["finding"] == finding], marks[marks["finding"] == finding]
    unboxed = sorted(lesions.loc[lesions["boxed"] == 0, "case"].unique())
    if unboxed:
        raise RatingsError(
            f"wAFROC needs the place of every reference finding, and {len(unboxed)} cases have one without a box: "
            f"{sentence_list(unboxed)}."
        )
    truth_of = table.drop_duplicates("case").set_index("case")["truth"]
    if marks.empty:
        raise RatingsError("No reader made a mark.")
    share = 1 / lesions.groupby("case")["lesion"].transform("size")
    rows = [(row[0], 1, row[1], row[2]) for row in zip(lesions["case"], lesions["lesion"], share, strict=True)]
    diseased = set(lesions["case"])
    odd = sorted(case for case, truth in truth_of.items() if truth and case not in diseased)
    if odd:
        raise RatingsError(
            f"wAFROC needs the place of every reference finding; it is not known of {sentence_list(odd)}."
        )
    rows += [(case, 0, "0", 0.0) for case in truth_of.index if case not in diseased]
    truth = pd.DataFrame(rows, columns=["case", "truth", "lesion", "weight"])
    best = marks[marks["mark"] == "LL"].groupby(["reader", "arm", "case", "lesion"], as_index=False)["rating"].max()
    made = pd.concat([best.assign(mark="LL"), marks[marks["mark"] == "NL"].assign(lesion="0")])
    made = made.rename(columns={"arm": "treatment"}).assign(truth=[int(case in diseased) for case in made["case"]])
    covariance = plan["covariance"] if plan["covariance"] in ("jackknife", "delong") else "jackknife"
    return analyze_froc(
        made[["reader", "treatment", "case", "truth", "mark", "lesion", "rating"]],
        truth,
        fom="wafroc",
        covariance=covariance,
        readers=sorted(table["reader"].unique()),
        treatments=sorted(table["treatment"].unique()),
        **options,
    )
