"""How far an evaluation's figures move with other cases."""

from __future__ import annotations

import json
import re
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
        probability={f: 0.4 * there + 0.6 * rng.random(n) for f, there in present.items()},
        boxes=boxes,
        similarity=rng.normal(0.7, 0.1, n),
    )


def test_the_interval_of_a_mean_is_two_standard_errors_to_either_side():
    made = cases(400)
    low, high = intervals(made)["gaze.similarity"]
    mean, error = made.similarity.mean(), made.similarity.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)


def test_where_every_draw_gives_the_same_there_is_no_interval():
    made = cases()
    right = {f: np.column_stack([there, 0 * there, 0 * there]) for f, there in made.present.items()}
    assert replace(made, said=right).values()["report.f1"] == 1.0
    assert "report.f1" not in intervals(replace(made, said=right))
    assert difference_intervals(made, made) == {}


def test_a_difference_is_had_on_the_same_draw_of_cases():
    made = cases()
    low, high = intervals(made)["gaze.similarity"]
    nudged = made.similarity + 0.05 + 0.001 * np.sin(np.arange(60))
    assert high - low > 0.04
    assert difference_intervals(made, replace(made, similarity=nudged))["gaze.similarity"] == pytest.approx(
        (0.05, 0.05), abs=1e-3
    )


def test_what_most_draws_cannot_tell_has_no_interval():
    made = cases(20)
    present = {**made.present, "Lung Lesion": np.eye(20)[0]}
    found = intervals(replace(made, present=present, boxes=np.zeros((20, 2))))
    assert {"findings.Lung Lesion.auc", "boxes.iou"}.isdisjoint(found)
    assert {"findings.Pneumothorax.auc", "probability.auc_mean", "probability.brier", "report.f1"} <= found.keys()


def test_the_mean_area_is_over_the_findings_that_have_one():
    made = cases()
    alone = replace(made, present={**made.present, "Lung Lesion": np.zeros(60)}).values()
    assert alone["findings.Lung Lesion.auc"] is None
    assert alone["probability.auc_mean"] == alone["findings.Pneumothorax.auc"]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (cases(59), "A difference needs two evaluations on the same cases."),
        (cases(60, seed=1), "A difference needs two evaluations on the same cases."),
        (replace(cases(), present={}), "A difference needs two models that know the same findings."),
    ],
    ids=["fewer", "others", "other findings"],
)
def test_evaluations_of_other_things_have_no_difference(other, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        difference_intervals(cases(), other)


def test_what_is_kept_of_the_cases_survives_being_written_down():
    kept = json.loads(json.dumps(cases().to_dict()))
    assert intervals(Cases.from_dict(kept)) == intervals(cases())
    with pytest.raises(ValueError, match=r"^These are not the cases of an evaluation: .*'depth'"):
        Cases.from_dict({**kept, "depth": []})
