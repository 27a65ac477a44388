"""A model's readings against readers': figures with known answers, beside chance and ceiling, and what has none."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.stats.agreement import icc
from capture.gaze import scanpath
from gazex.findings import FINDINGS
from gazex.metrics import (
    CATEGORIES,
    GAZE,
    Reading,
    auc,
    categories_of,
    compare,
    reading_of_evidence,
    reading_of_steps,
    reading_of_visit,
    table,
)
from gazex.phantoms import make_phantom
from gazex.tasks import gtm
from gazex.tasks.formats import Codec
from gazex.train.data import simulated_visit


def path(rng, n: int = 12, middle=(0.5, 0.5)) -> np.ndarray:
    xy = np.clip(rng.normal(middle, 0.12, (n, 2)), 0.01, 0.99)
    return np.column_stack([xy, rng.lognormal(np.log(0.25), 0.3, n)])


def study(cases: int = 12, readers: int = 3, seed: int = 0, skill: float = 0.03):
    """Cases with a place of their own; readers and model look there, `skill` beside it, and say what is there."""
    rng = np.random.default_rng(seed)
    model, own = [], []
    for k in range(cases):
        place = rng.uniform(0.2, 0.8, 2)
        finding = FINDINGS[k % 3]
        said = {
            "Enlarged Cardiomediastinum": "The mediastinum is widened.",
            "Cardiomegaly": "There is cardiomegaly.",
            "Lung Lesion": "There is a nodule.",
        }[finding]
        box = (*(place - 0.1), *(place + 0.1))
        for r in range(-1, readers):
            seen = path(rng, middle=place + rng.normal(0, skill, 2))
            reading = Reading(
                f"c{k:02}",
                "model" if r < 0 else f"r{r}",
                seen,
                ("No pneumothorax.", said),
                {finding: seen},
                {finding: [tuple(np.array(box) + rng.normal(0, skill / 3, 4))]},
                {finding: "yes", "Edema": "no"},
                {finding: 0.9, "Edema": 0.1} if r < 0 else {},
            )
            (model if r < 0 else own).append(reading)
    return model, own


def test_two_equal_readings_are_as_alike_as_can_be():
    one = Reading("c", "a", path(np.random.default_rng(0)))
    found = compare(one, replace(one, reader="b"))
    assert set(found) == set(GAZE)
    for name in ("cosine", "cc", "sim", "scanmatch", "sed", *(g for g in GAZE if g.startswith("multimatch"))):
        assert found[name] == pytest.approx(1.0), name
    assert found["dtw"] == pytest.approx(0.0) and found["kl"] == pytest.approx(0.0, abs=1e-9)
    assert found["nss"] > 1 and found["auc"] > 0.8


def test_measures_are_those_of_the_library_they_come_from():
    rng = np.random.default_rng(1)
    a, b = Reading("c", "a", path(rng)), Reading("c", "b", path(rng, 9, (0.3, 0.6)))
    found = compare(a, b)
    packed = scanpath.Paths.of([r.path * (1000, 1000, 1) - (0.5, 0.5, 0) for r in (a, b)])
    assert found["scanmatch"] == pytest.approx(scanpath.scanmatch(packed, size=(1000, 1000))[0])
    assert found["sed"] == pytest.approx(scanpath.edit_distance(packed, size=(1000, 1000)).similarity[0])
    assert found["dtw"] == pytest.approx(scanpath.dtw(packed, unit=(1000, 1000)).mean[0])


def test_readings_without_fixations_have_no_figures_and_nothing_is_nan():
    rng = np.random.default_rng(0)
    empty, short, whole = Reading("c", "a"), Reading("c", "b", path(rng, 1)), Reading("c", "c", path(rng))
    assert set(compare(empty, whole).values()) <= {None, 0.0}
    assert compare(empty, empty)["cosine"] is None and compare(empty, empty)["sed"] is None
    some = compare(short, whole)
    assert some["multimatch_shape"] is None and some["cosine"] is not None
    assert not any(v is not None and math.isnan(v) for v in some.values())


def test_a_model_that_reads_like_the_readers_stands_above_chance_and_at_their_ceiling():
    model, own = study()
    found = table(model, own)
    for name in ("cosine", "cc", "sim", "nss", "auc", "scanmatch", "multimatch_position"):
        figure = found.gaze[name]
        assert figure.value > figure.chance + 0.03 and figure.value == pytest.approx(figure.ceiling, rel=0.25), name
    for name in ("kl", "dtw"):
        assert found.gaze[name].value < found.gaze[name].chance, name
    assert found.gaze["icc_x"].value > 0.85 > 0.5 > abs(found.gaze["icc_x"].chance)
    assert found.boxes["miou"].value > 0.6 > found.boxes["miou"].chance + 0.2
    assert found.boxes["miou"].ceiling > 0.6
    assert found.findings["f1"].value == 1 == found.findings["f1"].ceiling
    assert found.findings["hallucination_rate"].value == 0 == found.findings["false_negative_rate"].value
    assert found.findings["f1"].chance < 0.6
    assert found.words["rouge_l"].value == 1 and found.words["rouge_l"].chance < 0.95
    assert found.answers["accuracy"].value == 1
    assert found.gaze["cosine"].n == 12 and found.gaze["cosine"].why == ""


def test_icc_of_centroids_is_over_cases_and_categories_that_both_looked_at():
    rng = np.random.default_rng(3)
    looks = [(rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.9, 2)) for _ in range(8)]

    def at(place) -> np.ndarray:
        return np.array([[*place, 0.3], [*place, 0.1]])

    model = [
        Reading(f"c{k}", "model", at(a), looks={"Edema": at(a), "Fracture": at(a)}) for k, (a, _) in enumerate(looks)
    ]
    own = [Reading(f"c{k}", "r", at(b), looks={"Edema": at(b)}) for k, (_, b) in enumerate(looks)]
    found = table(model, own)
    want = icc([(a[0], b[0]) for a, b in looks])["(2,1)"].estimate
    assert found.gaze["icc_x"].value == pytest.approx(want) and found.gaze["icc_x"].n == 8
    assert found.categories["Edema"]["icc_x"].value == pytest.approx(want)
    r = np.corrcoef([a[1] for a, _ in looks], [b[1] for _, b in looks])[0, 1]
    assert found.categories["Edema"]["pearson_y"].value == pytest.approx(r)
    lone = found.categories["Fracture"]["icc_x"]
    assert lone.value is None and "not estimable, because fewer than 3 looks" in lone.why
    assert set(found.categories) == set(CATEGORIES) and len(CATEGORIES) == 14


def test_a_case_counts_once_however_many_read_it():
    rng = np.random.default_rng(0)
    near, far = path(rng, 12, (0.3, 0.3)), path(rng, 12, (0.8, 0.8))
    model = [Reading("c1", "m", near), Reading("c2", "m", near)]
    own = [Reading("c1", f"r{k}", near) for k in range(5)] + [Reading("c2", "r0", far)]
    one = table(model, own).gaze["cosine"]
    assert one.value == pytest.approx((1 + compare(model[1], own[-1])["cosine"]) / 2) and one.n == 2
    assert one.ceiling == pytest.approx(1.0), "only the case with two readers has a ceiling"


def said(case: str, reader: str, *sentences: str) -> Reading:
    return Reading(case, reader, sentences=sentences)


def test_hallucinations_misses_and_the_recall_that_each_reader_gains():
    truth = {"c1": {"Edema": "", "Pneumothorax": "left"}, "c2": ["Cardiomegaly"], "c3": []}
    model = [
        said("c1", "m", "There is a left pneumothorax.", "There is a fracture."),
        said("c2", "m", "There is cardiomegaly."),
        said("c3", "m", "No edema."),
    ]
    own = [
        said("c1", "anna", "There is pulmonary edema."),
        said("c2", "anna", "No edema."),
        said("c1", "ben", "There is a left pneumothorax.", "There is pulmonary edema."),
        said("c2", "ben", "There is cardiomegaly."),
        said("c3", "ben", "No edema."),
    ]
    found = table(model, own, truth=truth)
    assert found.findings["hallucination_rate"].value == pytest.approx(1 / 3)
    assert found.findings["false_negative_rate"].value == pytest.approx(1 / 3)
    assert found.findings["f1"].value == pytest.approx(2 / 3)
    anna, ben = found.recall_gained["anna"], found.recall_gained["ben"]
    assert anna["alone"].value == pytest.approx(2 / 3 - 1 / 3) and anna["together"].value == pytest.approx(1 - 1 / 3)
    assert ben["alone"].value == pytest.approx(2 / 3 - 1) and ben["together"].value == 0
    assert (anna["alone"].n, ben["alone"].n) == (2, 3)


def test_without_a_reference_the_truth_is_the_majority_and_no_reader_votes_on_itself():
    readers = [
        said("c1", "a", "There is pulmonary edema."),
        said("c1", "b", "There is pulmonary edema."),
        said("c1", "c", "There is a fracture."),
    ]
    found = table([said("c1", "m", "There is pulmonary edema.")], readers)
    assert found.findings["f1"].value == 1
    # Of b and c, neither finding has more than half, so that what a states is extra; so for b; c is held to edema.
    assert found.recall_gained["a"]["alone"].value is None
    assert found.recall_gained["c"]["alone"].value == 1
    assert found.findings["f1"].ceiling == 0
    assert "no chance, because there is no other case" in found.findings["f1"].why


def test_one_reader_has_no_ceiling_and_says_so():
    model, own = study(cases=4, readers=1)
    found = table(model, own)
    for figure in (found.gaze["cosine"], found.words["bleu_4"], found.boxes["iou"], found.answers["accuracy"]):
        assert figure.value is not None and figure.ceiling is None
        assert figure.why == "no ceiling, because no case has two readers"
    assert found.recall_gained["r0"]["alone"].value is None
    assert "nobody else read" in found.recall_gained["r0"]["alone"].why


def test_silent_and_blind_readings_are_not_estimable_and_never_nan():
    found = table(
        [Reading("c1", "m"), Reading("c2", "m")], [Reading("c1", "r"), Reading("c2", "r"), Reading("c1", "s")]
    )

    def figures(node):
        if isinstance(node, dict) and "value" in node:
            yield node
        elif isinstance(node, dict):
            for child in node.values():
                yield from figures(child)

    every = list(figures(found.to_dict()))
    assert len(every) > 90
    for figure in every:
        assert figure["value"] is None or figure["value"] in (0.0, 1.0)
        assert (figure["why"] == "") == (None not in (figure["value"], figure["chance"], figure["ceiling"]))
    json.dumps(found.to_dict(), allow_nan=False)


def test_boxes_of_other_cases_are_chance_and_a_marked_finding_without_a_box_is_nought():
    boxes = {"Edema": [(0.1, 0.1, 0.3, 0.3)]}
    own = [Reading(f"c{k}", "r", boxes=boxes) for k in range(2)]
    found = table([Reading("c0", "m", boxes=boxes), Reading("c1", "m")], own).boxes["miou"]
    assert found.value == 0.5 and found.chance == 1.0 and found.n == 2


def test_probabilities_are_scored_beside_those_of_other_cases():
    pytest.importorskip("analysis.stats.calibration")
    truth = {f"c{k}": (["Edema"] if k % 2 else []) for k in range(6)}
    model = [Reading(f"c{k}", "m", probabilities={"Edema": 0.8 if k % 2 else 0.2}) for k in range(6)]
    found = table(model, [Reading(f"c{k}", "r") for k in range(6)], truth=truth).probabilities
    assert found["brier"].value == pytest.approx(0.04) and found["ece"].value == pytest.approx(0.2)
    assert found["brier"].chance > 0.3 and found["brier"].ceiling is None
    assert "readers give no probabilities" in found["brier"].why


@pytest.mark.parametrize(
    ("model", "own", "why"),
    [
        ([Reading("a", "m")], [Reading("b", "r")], "no case in common"),
        ([Reading("a", "m"), Reading("a", "m")], [Reading("a", "r")], "two readings of one case"),
        ([Reading("a", "m")], [Reading("a", "r"), Reading("a", "r")], "r has two readings of case a"),
    ],
)
def test_readings_that_cannot_be_held_together_are_refused(model, own, why):
    with pytest.raises(ValueError, match=why):
        table(model, own)


def test_a_truth_that_leaves_a_case_out_is_refused():
    with pytest.raises(ValueError, match="truth of case a is not given"):
        table([Reading("a", "m")], [Reading("a", "r")], truth={})


def test_a_visit_and_an_inspection_of_it_are_the_same_reading():
    phantom = make_phantom(31, 4, (96, 96), normal_share=0.0, draw=False)
    visit, _ = simulated_visit(phantom, seed=1)
    own = reading_of_visit(visit, case="c")
    codec = Codec(visit.rows, visit.columns)
    told = reading_of_steps(gtm.steps_of(visit, most_points=30, codec=codec), codec, case="c")
    assert set(told.looks) == set(own.looks) == {c for s in own.sentences for c in categories_of(s)}
    assert told.labels == own.labels and own.labels
    found = compare(told, own)
    assert found["cosine"] > 0.97 and found["scanmatch"] > 0.8
    assert own.answers == {f: (s if s in ("left", "right") else "yes") for f, s in phantom.labels.items()}
    assert set(own.boxes) == set(phantom.labels)


def test_evidence_becomes_a_reading():
    evidence = {
        "rows": 100,
        "columns": 200,
        "report": [
            {"sentence": "A left nodule.", "finding": "Lung Lesion", "side": "left", "box": [99.5, 49.5, 149.5, 74.5]},
            {"sentence": "No edema.", "finding": None, "side": "", "box": None},
        ],
        "findings": [{"finding": "Lung Lesion", "probability": 0.9}, {"finding": "Edema", "probability": 0.2}],
        "trajectory": [{"x": 99.5, "y": 24.5, "duration_ms": 500.0}],
    }
    made = reading_of_evidence(evidence, case="c")
    assert np.allclose(made.path, [[0.5, 0.25, 0.5]])
    assert made.boxes == {"Lung Lesion": [(0.5, 0.5, 0.75, 0.75)]}
    assert made.answers == {"Lung Lesion": "left", "Edema": "no"}
    assert made.probabilities == {"Lung Lesion": 0.9, "Edema": 0.2}


def test_the_documented_example_runs():
    import doctest

    import gazex.metrics

    assert doctest.testmod(gazex.metrics).failed == 0


def test_an_area_counts_ties_half_and_needs_both_classes():
    scores = np.array([1.0, 2.0, 2.0, 3.0])
    assert auc(scores, np.array([False, False, True, True])) == 0.875
    assert auc(scores, np.ones(4, bool)) is None and auc(scores, np.zeros(4, bool)) is None
