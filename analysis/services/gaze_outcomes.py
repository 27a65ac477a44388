"""What the eyes did in a comparison, by arm: every gaze outcome with its interval, and heat maps to draw."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.queries.gaze import GazeRead, Trajectory, fixations_of, gaze_reads, trajectories
from analysis.stats import gaze
from analysis.stats.gaze import How, Look, Outcome
from analysis.stats.mrmc import plain
from capture.models import GazeMeasures
from capture.services import measuring
from study.models import Arm, Study
from study.queries.reading import shown_image

SCHEMA: Final = "gazeroom.gaze_outcomes/1"
MODEL: Final = "GazeX"
#: How many cases have heat maps of their own.
CASES_DRAWN: Final = 6
#: Outcomes of a whole read: key in the measures -> (label, unit).
_OF_READ: Final = {
    "viewing_s": ("viewing time", "s"),
    "fixations": ("fixations", ""),
    "transition_entropy": ("transition entropy between zones of the image, share of its greatest value", ""),
    "stationary_entropy": ("stationary entropy over zones of the image, share of its greatest value", ""),
}
_OF_ASSISTANCE: Final = {
    "panel_s": (f"time on {MODEL}'s panel", "s", f"a known place of {MODEL}'s panel"),
    "boxes_after_s": (f"dwell on {MODEL}'s boxes once drawn", "s", f"boxes of {MODEL} drawn"),
    "boxes_before_s": (
        f"dwell on the places of {MODEL}'s boxes before they were drawn",
        "s",
        f"boxes of {MODEL} drawn",
    ),
    "revealed_s": (f"{MODEL}'s output drawn, after the image's appearance", "s", f"a known moment of {MODEL}'s reveal"),
}


def compute_gaze(
    *,
    study: Study,
    body: Mapping[str, Any],
    arms: Sequence[Arm],
    horizon_s: float = gaze.HORIZON_S,
    only: Collection[str] | None = None,
    values: list[Value] | None = None,
) -> dict[str, Any]:
    """Every gaze outcome of a comparison, as plain values fit for JSON, numbers to ten significant digits.

    Tracks that were not measured yet are measured now. Whether the study may be looked at is the caller's business.

    Args:
        study: the comparison.
        body: its analysis plan's; ``random``, ``alpha`` and ``reference_arm`` are used.
        arms: the study's, the unassisted one first.
        horizon_s: seconds to which the time to first fixation is restricted.
        only: the labels of the cases that are analysed; by default all.
        values: where to put the numbers per read that were compared, for a table of them.

    Returns:
        - ``schema``; ``not_estimable``: why there is no outcome at all, else ""
        - ``reads``: arm → ``submitted``, ``with_gaze``, ``measured``, ``with_scanpath``
        - ``missing``: reads without gaze, or of whose gaze a part cannot be had: ``reader, case, arm, why``
        - ``model_missing``: cases without a trajectory of GazeX: ``case, why``
        - ``parameters``: those the measures were made with
        - ``misses``: arm → ``missed``, ``classified``, ``unclassified`` (reason → number)
        - ``outcomes``: ``group`` ("read", "findings", "assistance", "scanpath", "centroid", "map"), ``key, label, unit,
          reads`` (arm → number), ``result`` (:meth:`analysis.stats.mrmc.Result.to_dict`, or None), ``not_estimable``,
          ``conventions``
        - ``heat_maps``: None, or ``shape``, ``convention``, ``arms`` (arm → map or None, over all cases), ``model``
          (map or None), and ``cases``, those whose maps differ most between arms: ``case, cosine, arms, model``. A map
          is a list of rows of values from 0 to 1.
        - ``warnings``, ``conventions``
    """
    reads = [read for read in gaze_reads(study) if only is None or read.case.label in only]
    how = How(random=str(body["random"]), alpha=float(body["alpha"]), reference=str(body["reference_arm"]))
    missing = [_missing(read, read.missing) for read in reads if read.track is None]
    looks, measured, unread = _collect(reads)
    missing += unread
    seen = [read for read in reads if read.track is not None]
    paths = trajectories(study, {read.case.pk: read.case for read in seen}.values())
    model, model_missing = _model(paths)
    parameters, warnings = _parameters([found for _, found in measured])
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "not_estimable": "",
        "reads": {arm.key: _reads_of(arm.key, reads, looks, measured) for arm in arms},
        "missing": missing,
        "model_missing": model_missing,
        "parameters": parameters,
        "misses": {arm.key: _misses(arm.key, measured) for arm in arms},
        "outcomes": [],
        "heat_maps": None,
        "warnings": warnings,
        "conventions": [
            "Only reads with gaze enter: a reader's mean is over that reader's reads with gaze. The others are named.",
            "Gaze of readers who did not consent to its recording, or withdrew, is not used.",
            f"Intervals are the plan's: random {how.random.replace('_', ' and ')}, level {how.alpha:g}.",
        ],
    }
    if not looks and not measured:
        reasons = Counter(row["why"] for row in missing)
        most = f" ({'; '.join(f'{why}: {n}' for why, n in reasons.most_common(3))})" if reasons else ""
        out["not_estimable"] = f"not estimable, because no read has gaze{most}"
        return compact(out)
    groups: list[tuple[str, list[Outcome]]] = [
        ("read", _of_reads(measured, how)),
        ("findings", gaze.finding_outcomes(*_findings(measured), horizon_s=horizon_s, how=how)),
        ("assistance", _of_assistance(measured, how)),
        ("scanpath", gaze.similarity_outcomes(looks, model, model_name=MODEL, how=how)),
        ("centroid", gaze.centroid_outcomes(looks, model, model_name=MODEL, how=how)),
        ("map", gaze.map_outcomes(looks, model, model_name=MODEL, how=how)),
    ]
    out["outcomes"] = [{"group": group, **one.to_dict()} for group, outcomes in groups for one in outcomes]
    out["heat_maps"] = _heat_maps(looks, model, [arm.key for arm in arms])
    if values is not None:
        values += values_of("gaze", groups)
    return compact(out)


#: reader, arm, case, outcome, weighting of a ratio, value, numerator, denominator.
Value = tuple[str, str, str, str, str, float | None, float | None, float | None]


def values_of(part: str, groups: Sequence[tuple[str, Sequence[Outcome]]]) -> list[Value]:
    """The numbers per read of outcomes, each named by ``part``, its group and its key."""
    rows: list[Value] = []
    for group, outcomes in groups:
        for one in outcomes:
            for row in one.values.to_dict("records") if one.values is not None else []:
                numbers = (row.get(name) for name in ("value", "numerator", "denominator"))
                value, over, under = (None if number is None else float(number) for number in numbers)
                key = (str(row["reader"]), str(row["treatment"]), str(row["case"]))
                rows.append((*key, f"{part}/{group}/{one.key}", one.weighting, value, over, under))
    return sorted(rows, key=lambda row: (row[3], row[:3]))


def compact(out: dict[str, Any]) -> dict[str, Any]:
    """The values as JSON can carry them, numbers to ten significant digits: some hundred of them are stored."""
    found: dict[str, Any] = _rounded(plain(out))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _missing(read: GazeRead, why: str) -> dict[str, str]:
    return {"reader": read.reader, "case": read.case.label, "arm": read.arm, "why": why}


Measured = tuple[GazeRead, GazeMeasures]


def _collect(reads: Sequence[GazeRead]) -> tuple[list[Look], list[Measured], list[dict[str, str]]]:
    """The reads' scanpaths and measures; those of a track whose file or measures cannot be had are named."""
    looks, measured, unread = [], [], []
    sizes: dict[Any, tuple[int, int]] = {}
    for read in reads:
        if read.track is None:
            continue
        found = read.measures or measuring.measure_if_possible(track=read.track)
        if found is None:
            unread.append(_missing(read, "its gaze track could not be measured"))
        else:
            measured.append((read, found))
        try:
            table = fixations_of(read.track)
        except ValueError as reason:
            if found is not None:
                unread.append(_missing(read, f"measured, but without a scanpath: {reason}"))
            continue
        if read.case.pk not in sizes:
            sizes[read.case.pk] = _size(read)
        rows, columns = sizes[read.case.pk]
        path = gaze.on_image(table.x, table.y, table.duration, rows=rows, columns=columns)
        looks.append(Look(read.reader, read.arm, read.case.label, path))
    return looks, measured, unread


def _size(read: GazeRead) -> tuple[int, int]:
    image = shown_image(read.case)
    assert image is not None, "a case that was read has an image"
    return image.rows, image.columns


def _model(paths: Mapping[str, Trajectory]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    model, missing = {}, []
    for case, found in paths.items():
        path = None
        if found.image is not None and found.points:
            x, y, seconds = zip(*found.points, strict=True)
            path = gaze.on_image(x, y, seconds, rows=found.image.rows, columns=found.image.columns)
        if path is None or not len(path):
            missing.append({"case": case, "why": found.missing or f"{MODEL}'s trajectory does not touch the image"})
        else:
            model[case] = path
    return model, missing


def _parameters(measures: Sequence[GazeMeasures]) -> tuple[dict[str, Any] | None, list[str]]:
    used = Counter(json.dumps(found.inputs["parameters"], sort_keys=True) for found in measures)
    if not used:
        return None, []
    warnings = []
    if len(used) > 1:
        warnings.append(
            f"The reads were measured with {len(used)} different sets of parameters; those of most reads are given, "
            "and measures of different parameters are compared."
        )
    found: dict[str, Any] = json.loads(used.most_common(1)[0][0])
    return found, warnings


def _reads_of(
    arm: str, reads: Sequence[GazeRead], looks: Sequence[Look], measured: Sequence[Measured]
) -> dict[str, int]:
    return {
        "submitted": sum(read.arm == arm for read in reads),
        "with_gaze": sum(read.arm == arm and read.track is not None for read in reads),
        "measured": sum(read.arm == arm for read, _ in measured),
        "with_scanpath": sum(look.treatment == arm for look in looks),
    }


def _misses(arm: str, measured: Sequence[Measured]) -> dict[str, Any]:
    found = [f for read, one in measured if read.arm == arm for f in one.body["read"]["findings"]]
    missed = [f for f in found if f["reported"] is False]
    return {
        "missed": len(missed),
        "classified": sum(f["kundel"] is not None for f in missed),
        "unclassified": dict(sorted(Counter(f["not_estimable"] for f in missed if f["kundel"] is None).items())),
    }


def _key(read: GazeRead) -> dict[str, str]:
    return {"reader": read.reader, "treatment": read.arm, "case": read.case.label}


def _of_reads(measured: Sequence[Measured], how: How) -> list[Outcome]:
    fields = sorted({f for _, one in measured for f in one.body["read"]["coverage"]}, key=float)
    rows = []
    for read, one in measured:
        whole = one.body["read"]
        covered = {f"coverage_{field}": whole["coverage"].get(field) for field in fields}
        rows.append(_key(read) | {name: whole[name] for name in _OF_READ} | covered)
    table = pd.DataFrame(rows, columns=["reader", "treatment", "case", *_OF_READ, *(f"coverage_{f}" for f in fields)])
    labels = {**_OF_READ, **{f"coverage_{f}": (f"share of the image seen, field of {f}°", "") for f in fields}}
    return [
        gaze.outcome_of_means(table, name, key=name, label=label, unit=unit, how=how)
        for name, (label, unit) in labels.items()
    ]


def _findings(measured: Sequence[Measured]) -> tuple[pd.DataFrame, pd.DataFrame]:
    reads = pd.DataFrame([_key(read) for read, _ in measured], columns=["reader", "treatment", "case"])
    rows = []
    for read, one in measured:
        for found in one.body["read"]["findings"]:
            looks = found["looks"]
            rows.append(
                _key(read)
                | {
                    "looked": looks is not None,
                    "first_s": None if looks is None else looks["time_to_first_fixation_s"],
                    "dwell_s": 0.0 if looks is None else looks["dwell_s"],
                    "revisits": 0 if looks is None else looks["revisits"],
                    "kundel": found["kundel"],
                }
            )
    # As objects: a column of classes and None would else become floats where no class is there.
    return reads, pd.DataFrame(rows, dtype=object)


def _of_assistance(measured: Sequence[Measured], how: How) -> list[Outcome]:
    rows = [
        _key(read) | {name: (one.body["read"]["assistance"] or {}).get(name) for name in _OF_ASSISTANCE}
        for read, one in measured
    ]
    table = pd.DataFrame(rows, columns=["reader", "treatment", "case", *_OF_ASSISTANCE])
    said = "Only of reads in which the page said that the output was drawn; there is none in an arm without assistance."
    return [
        gaze.outcome_of_means(
            table, name, key=f"assistance_{name}", label=label, unit=unit, how=how, conventions=[said], nothing=nothing
        )
        for name, (label, unit, nothing) in _OF_ASSISTANCE.items()
    ]


def _heat_maps(looks: Sequence[Look], model: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    by_case: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for look in looks:
        by_case[look.case][look.treatment].append(look.path)
    differing = []
    for case, own in sorted(by_case.items()):
        means = [mean for arm in arms if (mean := _mean_density(own.get(arm, []))) is not None]
        if len(means) > 1:
            alike = min(gaze.cosine(a, b) for i, a in enumerate(means) for b in means[i + 1 :])
            differing.append((round(alike, 6), case))
    return {
        "shape": list(gaze.SHAPE),
        "convention": (
            "Fixation durations, every read with equal weight, blurred by a Gaussian of σ "
            f"{gaze.SIGMA:g} of the image's sides; divided by its maximum, log1p, divided by its maximum. Each map has "
            "a scale of its own."
        ),
        "arms": {arm: gaze.heat_map(look.path for look in looks if look.treatment == arm) for arm in arms},
        "model": gaze.heat_map(model[case] for case in sorted(by_case) if case in model),
        "cases": [
            {
                "case": case,
                "cosine": alike,
                "arms": {arm: gaze.heat_map(by_case[case].get(arm, [])) for arm in arms},
                "model": gaze.heat_map([model[case]]) if case in model else None,
            }
            for alike, case in sorted(differing)[:CASES_DRAWN]
        ],
    }


def _mean_density(paths: Sequence[Any]) -> Any:
    found = [density for path in paths if (density := gaze.density(path)) is not None]
    return np.mean(found, axis=0) if found else None
