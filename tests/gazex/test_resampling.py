"""How far an evaluation's figures move with other cases."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from gazex.resampling import Cases, difference_intervals, intervals


def cases(n: int = 60, seed: int = 0) -> Cases:
    """Two findings, of which a model says and believes most rightly."""
    rng = np.random.default_rng(seed)
    present = {f: (rng.random(n) < 0.4).astype(float) for f in ("Pneumothorax", "Lung Lesion")}
    said = {}
    for f, there in present.items():
        right = there * (rng.random(n) < 0.8)
        said[f] = np.column_stack([right, there - right, (1 - there) * (rng.random(n) < 0.1)])
    boxes = np.column_stack([rng.random(n), np.ones(n)])
    return Cases(
        said=said,
        present=present,
        probability={f: np.clip(0.6 * there + 0.5 * rng.random(n), 0, 1) for f, there in present.items()},
        boxes=boxes,
        similarity=rng.normal(0.7, 0.1, n),
        unparsed=np.zeros(n),
    )


def test_the_interval_of_a_mean_is_two_standard_errors_to_either_side():
    made = cases(400)
    low, high = intervals(made)["gaze.similarity"]
    mean, error = made.similarity.mean(), made.similarity.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)


def test_a_report_without_a_mistake_has_no_width():
    made = cases()
    right = {f: np.column_stack([there, 0 * there, 0 * there]) for f, there in made.present.items()}
    assert intervals(replace(made, said=right))["report.f1"] == (1.0, 1.0)


def test_a_difference_is_had_on_the_same_draw_of_cases():
    made = cases()
    low, high = intervals(made)["gaze.similarity"]
    apart = difference_intervals(made, replace(made, similarity=made.similarity + 0.05))
    assert high - low > 0.04
    assert apart["gaze.similarity"] == pytest.approx((0.05, 0.05))
    assert apart["report.f1"] == (0.0, 0.0)


def test_what_most_draws_cannot_tell_has_no_interval():
    made = cases(20)
    present = {**made.present, "Lung Lesion": np.eye(20)[0]}
    found = intervals(replace(made, present=present, boxes=np.zeros((20, 2))))
    assert {"findings.Lung Lesion.auc", "probability.auc_mean", "boxes.iou"}.isdisjoint(found)
    assert {"findings.Pneumothorax.auc", "probability.brier", "report.f1"} <= found.keys()


@pytest.mark.parametrize("other", [cases(59), cases(60, seed=1)], ids=["fewer", "others"])
def test_evaluations_on_other_cases_have_no_difference(other):
    with pytest.raises(ValueError, match=r"^A difference needs two evaluations on the same cases\.$"):
        difference_intervals(cases(), other)


def test_what_is_kept_of_the_cases_survives_being_written_down():
    kept = json.loads(json.dumps(cases().to_dict()))
    assert intervals(Cases.from_dict(kept)) == intervals(cases())
