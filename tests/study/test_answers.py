"""What a reader submits is parsed whole, or refused with one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.services.answers import MAX_TEXT, parse_answers
from study.services.errors import BadInput

FINDINGS = ["Pneumothorax", "Cardiomegaly"]


def answers(**changes: Any) -> dict[str, Any]:
    return {
        "responses": [{"finding": "Pneumothorax", "confidence": 5}, {"finding": "Cardiomegaly", "confidence": 1}],
        "marks": [
            {"finding": "Pneumothorax", "shape": "box", "points": [1, 2, 30.5, 40], "confidence": 5},
            {"finding": "Pneumothorax", "shape": "point", "points": [0, 0], "confidence": None},
        ],
        "report": {
            "text": "Left pneumothorax.",
            "sentences": [{"text": "Left pneumothorax.", "start": 10, "end": 20.5}],
        },
        "t": 99.5,
        "last_event": 12,
    } | changes


def parse(value: Any) -> Any:
    return parse_answers(value, findings=FINDINGS, rows=50, columns=40)


def mark(**changes: Any) -> dict[str, Any]:
    return answers(
        marks=[{"finding": "Pneumothorax", "shape": "box", "points": [1, 2, 3, 4], "confidence": 3} | changes]
    )


def sentence(**changes: Any) -> dict[str, Any]:
    return answers(report={"text": "x", "sentences": [{"text": "x", "start": 1, "end": 2} | changes]})


def test_answers_that_keep_the_rules_come_back_as_they_were() -> None:
    parsed = parse(answers())
    assert parsed.responses == {"Pneumothorax": 5, "Cardiomegaly": 1}
    assert [(m.shape, m.points, m.confidence) for m in parsed.marks] == [
        ("box", [1.0, 2.0, 30.5, 40.0], 5),
        ("point", [0.0, 0.0], None),
    ]
    assert parsed.sentences == [{"text": "Left pneumothorax.", "start": 10.0, "end": 20.5}]
    assert (parsed.browser_ms, parsed.last_event) == (99.5, 12)


def test_marks_and_report_may_be_left_out() -> None:
    parsed = parse({"responses": answers()["responses"]})
    assert (parsed.marks, parsed.text, parsed.sentences) == ([], "", [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "The answers are not an object with responses, marks and a report."),
        ({}, "The answers have no list of responses."),
        (answers(responses=answers()["responses"][:1]), "Cardiomegaly has no confidence yet; choose one from 1 to 5."),
        (answers(responses=answers()["responses"] * 2), "Pneumothorax is answered twice; answer it once."),
        (answers(responses=[{"finding": "Edema", "confidence": 1}]), "'Edema' is not a finding of this study."),
        (answers(responses=["x"]), "None is not a finding of this study."),
        (
            answers(responses=[{"finding": "Pneumothorax", "confidence": 6}]),
            "The confidence of Pneumothorax is 6; it is a whole number from 1 to 5.",
        ),
        (
            answers(responses=[{"finding": "Pneumothorax", "confidence": True}]),
            "The confidence of Pneumothorax is True; it is a whole number from 1 to 5.",
        ),
        (
            answers(responses=[{"finding": "Pneumothorax", "confidence": 2.5}]),
            "The confidence of Pneumothorax is 2.5; it is a whole number from 1 to 5.",
        ),
        (mark(finding="Edema"), "A mark names 'Edema', which is not a finding of this study."),
        (mark(shape="star"), "The mark of Pneumothorax has the shape 'star'; it has to be a box or a point."),
        (mark(points=[1, 2]), "The box of Pneumothorax needs 4 numbers."),
        (mark(points=[1, 2, 3, 51]), "The box of Pneumothorax lies outside the image."),
        (mark(points=[-1, 2, 3, 4]), "The box of Pneumothorax lies outside the image."),
        (
            mark(points=[3, 2, 1, 4]),
            "The box of Pneumothorax has no area; its corners come as left, top, right, bottom.",
        ),
        (
            mark(points=[1, 2, float("nan"), 4]),
            "A coordinate of the box of Pneumothorax is nan, not a number.",
        ),
        (mark(points=[1, 2, 10**400, 4]), "A coordinate of the box of Pneumothorax is "),
        (mark(confidence=0), "The confidence of Pneumothorax is 0; it is a whole number from 1 to 5."),
        (answers(marks=[mark()["marks"][0]] * 201), "There are 201 marks; 200 is the most a read can have."),
        (sentence(start=3), "Sentence 1 of the report ends before it starts."),
        (sentence(end=float("inf")), "The end of sentence 1 is inf, not a number."),
        (sentence(text=""), "Sentence 1 of the report has no text."),
        (
            answers(report={"text": "x" * (MAX_TEXT + 1), "sentences": []}),
            f"The report has to be a text of at most {MAX_TEXT} characters.",
        ),
        (answers(report="text"), "The report is not an object with a text and sentences."),
        (answers(t="now"), "The time of submission is 'now', not a number."),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused_with_a_sentence(value: Any, message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse(value)
    assert refusal.value.sentence.startswith(message)


def outcome(value: Any) -> tuple[str, Any]:
    """("", answers) or (sentence, None); anything else is a fault and fails the test."""
    try:
        return "", parse(value)
    except BadInput as refusal:
        return refusal.sentence, None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["responses", "marks", "report", "finding", "confidence", "shape", "points", "text", "sentences", "t"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_whatever_is_sent_is_either_answers_or_a_refusal_never_a_fault(value: Any) -> None:
    sentence, parsed = outcome(value)
    assert sentence.endswith(".") if parsed is None else set(parsed.responses) == set(FINDINGS)


@given(st.dictionaries(st.sampled_from(list(answers())), json_values, min_size=1))
def test_good_answers_with_any_part_replaced_are_either_answers_or_a_refusal(changes: Any) -> None:
    sentence, parsed = outcome(answers(**changes))
    assert (parsed is None) == (sentence != "") and "\n" not in sentence
