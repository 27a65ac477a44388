"""A protocol is checked strictly when a study is created; each refusal is one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from study.services.errors import BadInput
from study.services.protocol_body import CALIBRATION, calibration_rules, check_body, collection_body, comparison_body

FINDINGS = ["Pneumothorax", "Cardiomegaly"]
MODEL = "0f" * 32


def comparison(**changes: Any) -> dict[str, Any]:
    return comparison_body(findings=FINDINGS, model_sha256=MODEL) | changes


def calibrated(**changes: Any) -> dict[str, Any]:
    return comparison(calibration=CALIBRATION | changes)


def collection(**changes: Any) -> dict[str, Any]:
    return collection_body(findings=FINDINGS) | changes


def arms(*assistance: str) -> list[dict[str, str]]:
    return [{"key": f"a{i}", "name": f"Arm {i}", "assistance": what} for i, what in enumerate(assistance)]


def test_the_two_bodies_made_with_defaults_are_accepted() -> None:
    check_body("comparison", comparison())
    check_body("collection", collection())


def test_a_comparison_of_three_arms_in_three_periods_is_accepted() -> None:
    check_body("comparison", comparison(arms=arms("none", "concurrent", "concurrent"), periods=3))


def test_a_protocol_may_ask_for_nine_points_and_drift_checks() -> None:
    body = calibrated(points=9, drift_every_cases=5, drift_every_minutes=30, max_drift_deg=1.0)
    check_body("comparison", body)
    rules = calibration_rules(body)
    assert (rules.points, rules.drift_every_cases, rules.drift_every_minutes, rules.max_drift_deg) == (9, 5, 30, 1.0)


def test_a_protocol_that_says_nothing_of_drift_checks_none_and_is_not_changed_by_being_read() -> None:
    body = {**comparison(), "calibration": {"max_accuracy_deg": 0.8, "max_data_loss": 0.2}}
    before = json.dumps(body)
    rules = calibration_rules(body)
    assert not rules.checks_drift and rules.points == 5 and rules.max_drift_deg == rules.max_accuracy_deg == 0.8
    assert json.dumps(body) == before
    assert set(comparison()["calibration"]) == {"max_accuracy_deg", "max_data_loss"}


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("comparison", [], "The protocol is not an object with keys and values."),
        ("comparison", {k: v for k, v in comparison().items() if k != "gaze"}, "The protocol lacks 'gaze'."),
        ("comparison", comparison(colour="red"), "The protocol has 'colour', which means nothing here; leave it out."),
        ("comparison", comparison(findings=[]), "The protocol asks for no finding; name at least one."),
        ("comparison", comparison(findings=["Nodule"]), "'Nodule' is not a finding known here; use CheXbert's names, "),
        ("comparison", comparison(findings=[["Edema"]]), "['Edema'] is not a finding known here"),
        ("comparison", comparison(findings=["Edema", "Edema"]), "The protocol names a finding twice."),
        ("comparison", comparison(gaze="maybe"), "gaze is 'maybe'; write required, optional or none."),
        ("comparison", comparison(calibration={}), "calibration needs max_accuracy_deg and max_data_loss."),
        (
            "comparison",
            comparison(calibration={"max_accuracy_deg": 0, "max_data_loss": 0.2}),
            "max_accuracy_deg is 0; write a number above 0 and at most 10.",
        ),
        ("comparison", calibrated(colour=1), "calibration has 'colour', which means nothing here; leave it out."),
        ("comparison", calibrated(points=7), "points is 7; calibrate with 5 or 9."),
        (
            "comparison",
            calibrated(drift_every_cases=0),
            "drift_every_cases is 0; write a whole number from 1 to 1000.",
        ),
        (
            "comparison",
            calibrated(drift_every_minutes=1.5),
            "drift_every_minutes is 1.5; write a whole number from 1 to 1000.",
        ),
        (
            "comparison",
            calibrated(drift_every_cases=5, max_drift_deg="1"),
            "max_drift_deg is '1'; write a number above 0 and at most 10.",
        ),
        ("comparison", calibrated(max_drift_deg=1.0), "max_drift_deg has no use without drift_every_cases"),
        ("comparison", comparison(washout_days=-1), "washout_days is -1; write a whole number from 0 to 3650."),
        ("comparison", comparison(washout_days=True), "washout_days is True; write a whole number from 0 to 3650."),
        ("comparison", comparison(seed=1.5), "seed is 1.5; write a whole number from 0 to "),
        ("comparison", comparison(periods=1), "periods is 1; a protocol of 2 arms has as many periods."),
        ("comparison", comparison(periods="2"), "periods is '2'; write a whole number from 1 to 8."),
        ("comparison", comparison(arms="two"), "arms has to be a list of arms."),
        ("comparison", comparison(arms=[{"key": "a"}]), "Each arm has exactly a key, a name and an assistance."),
        (
            "comparison",
            comparison(arms=arms("none", "telepathy")),
            "The arm a1 has assistance 'telepathy'",
        ),
        (
            "comparison",
            comparison(arms=arms("none", "on_request")),
            "The arm a1, GazeX on request, cannot be read in the reading room yet; use none or concurrent.",
        ),
        (
            "comparison",
            comparison(arms=arms("none", "second_read")),
            "The arm a1, GazeX as second reader, cannot be read in the reading room yet; use none or concurrent.",
        ),
        ("comparison", comparison(arms=arms("none")), "A comparison needs at least two arms."),
        ("comparison", comparison(arms=[*arms("none"), *arms("concurrent")]), "Two arms have the same key."),
        ("comparison", comparison(model_sha256=None), "model_sha256 has to name the model of the assisted arm"),
        ("comparison", comparison(model_sha256="F" * 64), "model_sha256 has to name the model of the assisted arm"),
        (
            "collection",
            collection(model_sha256=MODEL),
            "model_sha256 names a model, but no arm is assisted",
        ),
        ("collection", collection(arms=arms("concurrent")), "A collection has one arm, and it is unassisted."),
        ("party", collection(), "'party' is not a kind of study; write comparison or collection."),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_with_a_sentence_that_names_it(kind, body, sentence) -> None:
    with pytest.raises(BadInput) as refusal:
        check_body(kind, body)
    assert refusal.value.sentence.startswith(sentence)
    assert refusal.value.status == 400
