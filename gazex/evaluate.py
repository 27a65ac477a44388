"""How good a model is on held-out phantoms, every figure beside its chance value."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.stats.gaze import SHIFTS
from gazex.calibration import iou, unit_box
from gazex.evidence import gaze_map
from gazex.findings import PHANTOM_FINDINGS, SIDED
from gazex.infer import Evidence, GazeX
from gazex.metrics import of_probabilities, outcomes
from gazex.phantoms import CALIBRATION_SEED, TEST_SEED, Phantom, make_phantom
from gazex.resampling import Cases, intervals
from gazex.train.data import simulated_visit
from gazex.train.heldout import MAP, cosine, f1
from gazex.train.runs import environment

SCHEMA: Final = "gazeroom.evaluation/1"
SIZES: Final = ((512, 512), (512, 456), (512, 420))
PRIOR_CASES: Final = 200


def evaluate(
    model: GazeX, *, cases: int = 60, seed: int = TEST_SEED, tick: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Read held-out phantoms and compare with their truth.

    Parameters
    ----------
    model
        A loaded model.
    cases
        Number of phantoms, at least 8.
    seed
        Their series; the default is the frozen test series.
    tick
        Told how many have been read, now and then.

    Returns
    -------
    dict
        JSON-ready (schema "gazeroom.evaluation/1"). A figure that cannot be estimated is None. For report F1, finding
        and side must both be right; chance is the same figure with the answers of other cases. Box IoU is over findings
        that are there and were said, beside the mean box of that finding and side. Gaze similarity is the cosine of
        dwell maps (σ 0.06 of the image) with the simulated reader's, chance with his path over other cases;
        since normal cases are all read alike, it is given for the abnormal ones too. "intervals" holds 95 % intervals
        by a figure's place ("report.f1"), "each" what they are made of (`gazex.resampling`).
    """
    if cases < 8:
        raise ValueError(f"An evaluation on {cases} cases says nothing; use at least 8.")
    started = time.monotonic()
    phantoms = [make_phantom(seed, i, SIZES[i % len(SIZES)]) for i in range(cases)]
    evidences = model.read_many([p.pixels for p in phantoms], tick=tick)
    seconds = time.monotonic() - started

    truth = [p.labels for p in phantoms]
    said = [{s.finding: s.side for s in e.report if s.finding} for e in evidences]
    known = [f for f in PHANTOM_FINDINGS if f in model.findings]
    probability = {f: np.array([_probability(e, f) for e in evidences]) for f in known}
    present = {f: np.array([f in t for t in truth]) for f in known}
    every = np.concatenate([probability[f] for f in known])
    every_present = np.concatenate([present[f] for f in known])
    prior = _mean_boxes()
    maps_read = [_reader_map(p) for p in phantoms]
    maps_model = [_trajectory_map(e) for e in evidences]
    abnormal = [i for i, t in enumerate(truth) if t]
    positives = [(s, t) for e, t in zip(evidences, truth, strict=True) for s in e.report if s.finding]
    right = [s.verified for s, t in positives if s.finding in t]
    wrong = [s.verified for s, t in positives if s.finding not in t]

    def chance(score: Any) -> float | None:
        values = [score(k) for k in SHIFTS if k < cases]
        values = [v for v in values if v is not None]
        return float(np.mean(values)) if values else None

    overlaps: dict[str, list[tuple[float, float]]] = {f: [] for f in PHANTOM_FINDINGS}
    by_case = np.zeros((cases, 2))
    for k, (p, e) in enumerate(zip(phantoms, evidences, strict=True)):
        for f in p.labels:
            if _has_box(e, f):
                overlap = iou(_model_box(e, p, f), _reference(p, f))
                overlaps[f].append((overlap, iou(prior[f, p.labels[f]], _reference(p, f))))
                by_case[k] += overlap, 1
    each = Cases(
        said={f: outcomes(truth, said, f) for f in PHANTOM_FINDINGS},
        present={f: present[f].astype(float) for f in known},
        probability=probability,
        boxes=by_case,
        similarity=np.array([cosine(a, b) for a, b in zip(maps_model, maps_read, strict=True)]),
    )
    values = each.values()
    prevalence = float(every_present.mean())
    return {
        "schema": SCHEMA,
        "model_sha256": model.weights_sha256,
        "seed": seed,
        "cases": cases,
        "normal_cases": sum(not t for t in truth),
        "report": {
            "f1": values["report.f1"],
            "f1_chance": chance(lambda k: f1(truth, said[k:] + said[:k], PHANTOM_FINDINGS)),
            "verified_of_right": _mean(right),
            "verified_of_wrong": _mean(wrong),
        },
        "findings": {
            f: {
                "positives": sum(f in t for t in truth),
                "auc": values.get(f"findings.{f}.auc"),
                "f1": values[f"findings.{f}.f1"],
                "f1_chance": chance(lambda k, f=f: f1(truth, said[k:] + said[:k], [f])),
                "box_iou": _mean([own for own, _ in overlaps[f]]),
                "box_iou_mean_box": _mean([mean for _, mean in overlaps[f]]),
                "boxes": len(overlaps[f]),
            }
            for f in PHANTOM_FINDINGS
        },
        "probability": {
            "auc_mean": values["probability.auc_mean"],
            "auc_chance": 0.5,
            "brier": values["probability.brier"],
            "ece": of_probabilities(every, every_present)["ece"],
            "brier_prevalence": prevalence * (1 - prevalence),
            "calibrated": model.calibrated,
        },
        "boxes": {
            "iou": values["boxes.iou"],
            "iou_mean_box": _mean([mean for one in overlaps.values() for _, mean in one]),
            "n": int(by_case[:, 1].sum()),
        },
        "gaze": {
            "similarity": values["gaze.similarity"],
            "similarity_chance": chance(
                lambda k: _mean([cosine(a, b) for a, b in zip(maps_model, maps_read[k:] + maps_read[:k], strict=True)])
            ),
            "similarity_abnormal": _mean([each.similarity[i] for i in abnormal]),
            "similarity_abnormal_chance": chance(
                lambda k: _mean([cosine(maps_model[i], maps_read[(i + k) % cases]) for i in abnormal])
            ),
        },
        "parse_failures": {
            "report": sum(e.status["report"] == "invalid" for e in evidences),
            "trajectory": sum(e.status["trajectory"] != "gtm" for e in evidences),
            "of": cases,
        },
        "intervals": intervals(each),
        "each": each.to_dict(),
        "seconds_per_case": round(seconds / cases, 3),
        **environment(),
    }


def as_text(evaluation: dict[str, Any]) -> str:
    """An evaluation as the JSON that is written to a file: a figure a line, what is kept of the cases on the last."""
    figures = json.dumps({k: v for k, v in evaluation.items() if k != "each"}, indent=1)
    return f'{figures[:-2]},\n "each": {json.dumps(evaluation["each"])}\n}}\n'


def _probability(evidence: Evidence, finding: str) -> float:
    return next(f.probability for f in evidence.findings if f.finding == finding)


def _has_box(evidence: Evidence, finding: str) -> bool:
    return any(s.finding == finding and s.box is not None for s in evidence.report)


def _model_box(evidence: Evidence, phantom: Phantom, finding: str) -> tuple[float, float, float, float]:
    box = next(s.box for s in evidence.report if s.finding == finding and s.box is not None)
    return unit_box(box, phantom.rows, phantom.columns)


def _reference(phantom: Phantom, finding: str) -> tuple[float, float, float, float]:
    box = next(f.box for f in phantom.findings if f.finding == finding)
    return unit_box(box, phantom.rows, phantom.columns)


def _mean_boxes() -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """Mean box of each finding and side over the calibration series: a guess that has not seen the image."""
    boxes: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for index in range(PRIOR_CASES):
        phantom = make_phantom(CALIBRATION_SEED, index, (64, 64), normal_share=0.0, draw=False)
        for f in phantom.findings:
            boxes.setdefault((f.finding, f.side), []).append(unit_box(f.box, 64, 64))
    means = {key: np.mean(b, axis=0) for key, b in boxes.items()}
    keys = [(f, s) for f in PHANTOM_FINDINGS for s in (("left", "right") if f in SIDED else ("",))]
    return {key: tuple(float(v) for v in means[key]) for key in keys if key in means}  # type: ignore[misc]


def _reader_map(phantom: Phantom) -> NDArray[np.float64]:
    _, path = simulated_visit(phantom, seed=phantom.seed)
    return _dwell(path.x, path.y, path.duration_s, phantom.rows, phantom.columns)


def _trajectory_map(evidence: Evidence) -> NDArray[np.float64]:
    x, y, w = (np.array([getattr(p, n) for p in evidence.trajectory]) for n in ("x", "y", "duration_ms"))
    return _dwell(x, y, w, evidence.rows, evidence.columns)


def _dwell(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.float64]:
    return gaze_map(x, y, rows, columns, 0.06 * columns, 0.06 * rows, MAP, w)


def _mean(values: Sequence[float | bool | None]) -> float | None:
    numbers = [float(v) for v in values if v is not None]
    return float(np.mean(numbers)) if numbers else None
