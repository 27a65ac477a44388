"""How the study was conducted: what was excluded, and what went otherwise than the protocol says."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .tables import Tables, cases_used

#: A read that lasted longer than this by the server's clock was very probably interrupted.
LONG_SECONDS = 3600.0


def conduct(tables: Tables, study: dict[str, Any]) -> dict[str, Any]:
    """Flow of reads per arm, exclusions with their reasons, deviations from the protocol.

    ``shown`` is, per arm, how often GazeX left the server among the submitted reads.
    """
    reads = tables.reads
    submitted = reads[reads["state"] == "submitted"]
    flow, shown = [], {}
    for arm in study["arms"]:
        own = reads[reads["arm"] == arm["key"]]
        done = own[own["state"] == "submitted"]
        shown[arm["key"]] = [int(done["shown"].sum()), len(done)]
        flow.append(
            {
                "arm": arm["key"],
                "assigned": len(own),
                "submitted": len(done),
                "invalidated": int((own["state"] == "invalidated").sum()),
                "not_read": int((~own["state"].isin(["submitted", "invalidated"])).sum()),
            }
        )
    invalid = reads[reads["state"] == "invalidated"]
    exclusions = [
        {"what": f"reader {row.reader}, case {row.case}, {row.arm}: read invalidated", "why": row.reason}
        for row in invalid.itertuples()
    ]
    exclusions += [
        {"what": f"case {case}: left out of the analysis", "why": "not read by every reader in every arm"}
        for case in sorted(set(tables.readings["case"]) - cases_used(tables, study["plan"]["missing"]))
    ]
    return {
        "shown": shown,
        "flow": flow,
        "exclusions": exclusions,
        "withdrawn": tables.readers.loc[tables.readers["withdrawn"] == 1, "reader"].tolist(),
        "deviations": _deviations(tables, study, shown),
        "recordings": _recordings(submitted),
    }


def _deviations(tables: Tables, study: dict[str, Any], shown: dict[str, list[int]]) -> list[str]:
    said = []
    reads = tables.reads
    submitted = reads[reads["state"] == "submitted"]
    for arm in study["arms"]:
        seen, of = shown[arm["key"]]
        if arm["assistance"] == "none" and seen:
            said.append(f"GazeX was shown in {seen} of {of} reads of the unassisted arm “{arm['name']}”.")
        if arm["assistance"] in ("concurrent", "second_read") and seen < of:
            said.append(f"GazeX was shown in only {seen} of {of} reads of the arm “{arm['name']}”.")
    for reader in tables.readers.loc[tables.readers["withdrawn"] == 1, "reader"]:
        own = submitted[submitted["reader"] == reader]
        said.append(f"Reader {reader} withdrew; the {len(own)} reads submitted until then are analysed.")
    missing = int((~reads["state"].isin(["submitted"])).sum())
    if missing:
        said.append(f"{missing} of {len(reads)} assigned reads were not submitted.")
    if study.get("closed_early"):
        said.append(f"The study was closed early: {study['closed_early']}")
    if len(study.get("protocols", [])) > 1:
        said.append(
            f"The protocol was amended: {len(study['protocols'])} versions, the last locked on "
            f"{study['protocols'][-1]['locked_at'][:10]}; the reads of the last are analysed."
        )
    long = submitted[submitted["seconds"] > LONG_SECONDS]
    if len(long):
        said.append(
            f"{len(long)} reads lasted longer than an hour by the server’s clock and were probably interrupted; their "
            "time is analysed as it is."
        )
    if study.get("gaze") == "required":
        bad = submitted[submitted["recording"] != "processed"]
        if len(bad):
            said.append(
                f"The protocol requires gaze, and {len(bad)} of {len(submitted)} submitted reads have no processed "
                "recording."
            )
    return said


def _recordings(submitted: pd.DataFrame) -> dict[str, int]:
    """How many submitted reads have a recording in each state; "none" where there is none."""
    return {str(state): int(count) for state, count in submitted["recording"].value_counts().sort_index().items()}
