"""The committed model has learnt: on phantoms nobody trained on, it beats chance at everything it is asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gazex.calibration import fit_platt, iou, region_box
from gazex.evaluate import evaluate
from gazex.findings import PHANTOM_FINDINGS, label_sentence, side_of
from gazex.infer import occlude
from gazex.model.config import SMALL_DIR
from gazex.model.network import weights_sha256
from gazex.phantoms import TEST_SEED, make_phantom
from gazex.resampling import Cases
from gazex.schema import EVIDENCE_SCHEMA
from gazex.train.heldout import HeldOut


@pytest.fixture(scope="module")
def result(small):
    return evaluate(small, cases=40)


@pytest.fixture(scope="module")
def evidences(small):
    phantoms = [make_phantom(TEST_SEED, i, (256, 240)) for i in range(100, 132)]
    return phantoms, small.read_many([p.pixels for p in phantoms])


def test_reports_name_findings_and_sides_far_above_chance(result):
    assert result["report"]["f1"] > max(0.85, result["report"]["f1_chance"] + 0.6)


def test_probabilities_rank_and_are_better_than_the_prevalence(result):
    assert result["probability"]["auc_mean"] > 0.95
    assert result["probability"]["brier"] < result["probability"]["brier_prevalence"]


def test_boxes_lie_better_than_the_mean_box_and_trajectories_follow_the_case(result):
    boxes, gaze = result["boxes"], result["gaze"]
    assert boxes["n"] > 20 and boxes["iou"] > boxes["iou_mean_box"] + 0.1
    assert gaze["similarity"] > gaze["similarity_chance"] + 0.15
    assert gaze["similarity_abnormal"] > gaze["similarity_abnormal_chance"] + 0.15


def test_a_box_written_for_a_sentence_lies_better_than_the_mean_box(small):
    boxes = HeldOut(small.processor, cases=40, seed=TEST_SEED).boxes(small.network)
    assert len(boxes["each"]) > 20 and boxes["invalid"] == 0
    assert boxes["iou"] > boxes["iou_mean_box"] + 0.1


def test_the_hottest_place_lies_on_the_finding_of_this_case_and_not_of_another(small):
    phantoms = [make_phantom(TEST_SEED, i, (224, 224), normal_share=0.0, subtlety=0.2) for i in range(200, 240)]
    own, other = [], []
    for channel, finding in enumerate(small.findings):
        shown = [(p, f) for p in phantoms for f in p.findings if f.finding == finding]
        for k, (phantom, reference) in enumerate(shown):
            image = small.processor.patchify([small.processor.prepare(phantom.pixels)])
            with torch.inference_mode():
                heat = small.network.heat_maps(small.network.see([image]))[0][channel].numpy()
            row, col = np.unravel_index(int(heat.argmax()), heat.shape)
            x, y = (col + 0.5) / heat.shape[1] * 224 - 0.5, (row + 0.5) / heat.shape[0] * 224 - 0.5
            for hits, box in ((own, reference.box), (other, shown[k - 1][1].box)):
                hits.append(box[0] - 8 <= x <= box[2] + 8 and box[1] - 8 <= y <= box[3] + 8)
    assert len(own) > 40 and np.mean(own) > 0.8
    assert np.mean(own) > np.mean(other) + 0.2


def test_most_answers_parse(result):
    failures = result["parse_failures"]
    assert failures["report"] <= 0.05 * failures["of"] and failures["trajectory"] <= 0.05 * failures["of"]


def test_evidence_is_json_in_image_pixels_and_names_its_model(evidences, small):
    for phantom, evidence in zip(*evidences, strict=True):
        raw = json.loads(json.dumps(evidence.to_dict()))
        assert raw["schema"] == EVIDENCE_SCHEMA and raw["model_sha256"] == small.weights_sha256
        assert (raw["rows"], raw["columns"]) == (phantom.rows, phantom.columns)
        assert [f["finding"] for f in raw["findings"]] == list(PHANTOM_FINDINGS)
        assert all(0 <= f["probability"] <= 1 for f in raw["findings"])
        for sentence in raw["report"]:
            if sentence["box"] is not None:
                x0, y0, x1, y1 = sentence["box"]
                assert 0 <= x0 <= x1 <= phantom.columns - 1 and 0 <= y0 <= y1 <= phantom.rows - 1
            if sentence["verified"] and sentence["finding"]:
                assert sentence["box"]
        assert raw["trajectory"]
        for point in raw["trajectory"]:
            assert 0 <= point["x"] <= phantom.columns - 1 and 0 <= point["y"] <= phantom.rows - 1
            assert point["duration_ms"] >= 0


def test_a_sentence_carries_the_finding_and_side_that_it_says(evidences):
    for evidence in evidences[1]:
        for sentence in evidence.report:
            affirmed = [f for f, m in label_sentence(sentence.sentence).items() if m == "positive"]
            assert ([sentence.finding] if sentence.finding else []) == affirmed[:1]
            if sentence.finding:
                assert sentence.side == side_of(sentence.sentence)


def test_a_denial_is_verified_only_where_the_probability_agrees(evidences):
    agreed = contradicted = 0
    for evidence in evidences[1]:
        believed = {f.finding: f.probability for f in evidence.findings}
        for sentence in evidence.report:
            denied = [f for f, m in label_sentence(sentence.sentence).items() if m == "negative"]
            if not sentence.finding and denied:
                assert sentence.verified == all(believed[f] < 0.5 for f in denied)
                agreed += sentence.verified
                contradicted += not sentence.verified
    assert agreed > 50
    assert contradicted > 0


def test_a_sided_box_lies_on_the_patients_side(evidences):
    seen = 0
    for phantom, evidence in zip(*evidences, strict=True):
        for s in evidence.report:
            if s.box and s.side in {"left", "right"}:
                seen += 1
                middle = (s.box[0] + s.box[2]) / 2 / phantom.columns
                # A side reaches 3 % over the midline, as the heart and the hila do.
                assert middle > 0.47 if s.side == "left" else middle < 0.53
    assert seen >= 3


def test_hiding_a_box_changes_the_box_and_nothing_else():
    image = np.random.default_rng(0).random((56, 56)).astype(np.float32)
    hidden = occlude(image, (0.25, 0.25, 0.5, 0.5))
    changed = hidden != image
    assert changed[14:28, 14:28].mean() > 0.99
    changed[14:28, 14:28] = False
    assert not changed.any()


def test_verified_boxes_are_more_often_right_than_unverified_ones(result):
    right, wrong = result["report"]["verified_of_right"], result["report"]["verified_of_wrong"]
    assert right is not None and right > 0.3
    assert wrong is None or wrong < right


def test_an_evaluation_keeps_of_its_cases_what_its_figures_are_made_of(result):
    figures = Cases.from_dict(result["each"]).figures(np.ones((1, result["cases"])))
    for place, (value,) in figures.items():
        there = result
        for key in place.split("."):
            there = there[key]
        assert value == pytest.approx(there), place
    for place, (low, high) in result["intervals"].items():
        assert low <= figures[place][0] <= high


def test_the_card_says_how_the_weights_were_made_and_they_are_small():
    card = json.loads((SMALL_DIR / "card.json").read_text())
    assert card["command"].startswith("python -m gazex train-small") and card["seed"] == 1
    assert {"torch", "transformers", "numpy"} <= set(card["libraries"])
    metrics = json.loads((SMALL_DIR / "metrics.json").read_text())
    assert metrics["report"]["f1"] > metrics["report"]["f1_chance"]
    assert metrics["model_sha256"] == weights_sha256("small")
    assert sum(p.stat().st_size for p in SMALL_DIR.rglob("*") if p.is_file()) < 6 * 2**20


def test_platt_scaling_finds_the_slope_and_offset_of_a_known_model():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, 6000)
    truth = rng.random(6000) < 1 / (1 + np.exp(-(0.5 * z - 1.0)))
    a, b = fit_platt(z, truth)
    assert a == pytest.approx(0.5, abs=0.1) and b == pytest.approx(-1.0, abs=0.15)


def test_a_region_is_the_blob_that_holds_the_maximum():
    heat = np.zeros((64, 64))
    heat[8:16, 40:48] = 1.0
    heat[40:60, 4:20] = 0.9
    assert region_box(heat, 0.5) == (40 / 64, 8 / 64, 48 / 64, 16 / 64)
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
