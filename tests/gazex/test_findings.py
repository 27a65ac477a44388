"""Report sentences are labelled as CheXbert's conventions have it; the rules are data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gazex.findings import FINDINGS, NO_FINDING, compile_phrases, label_report, label_sentence
from tests.reference import REFERENCE, needs_reference

CODES = dict(zip(("EC", "CM", "LL", "LO", "ED", "CO", "PN", "AT", "PT", "PE", "PO", "FR", "SD"), FINDINGS, strict=True))
SIGNS = {"+": "positive", "-": "negative", "?": "uncertain"}


def labelled(codes: str) -> dict[str, str]:
    return {CODES[code[:2]]: SIGNS[code[2:]] for code in codes.split()}


def rows(name: str) -> list[list[str]]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def sentences() -> list[tuple[str, dict[str, str]]]:
    return [(sentence, labelled(codes)) for sentence, codes in rows("finding_sentences.tsv")]


def found(labels: dict[str, str]) -> set[str]:
    """What CheXbert's published labels hold: the uncertain counts as found."""
    return {finding for finding, mention in labels.items() if mention != "negative"}


def micro_f1(said: list[set[str]], true: list[set[str]]) -> float:
    hits = sum(len(s & t) for s, t in zip(said, true, strict=True))
    return 2 * hits / (sum(map(len, said)) + sum(map(len, true)))


@pytest.mark.parametrize(("sentence", "labels"), sentences(), ids=[s for s, _ in sentences()])
def test_a_sentence_is_labelled(sentence, labels):
    assert label_sentence(sentence) == labels


def test_there_are_enough_sentences_of_every_finding():
    mentions = [finding for _, labels in sentences() for finding in labels]
    assert len(sentences()) >= 300
    for finding in FINDINGS:
        assert mentions.count(finding) >= 9


@needs_reference
def test_dictated_sentences_are_labelled_as_chexbert_labels_them():
    with (REFERENCE / "chexbert_sentences.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    true = [{name for name in row["findings"].split(";") if name} for row in table]
    said = [found(label_sentence(row["sentence"])) for row in table]
    assert micro_f1(said, true) >= 0.93


@pytest.mark.parametrize("half", ["dev", "held-out"])
def test_sentences_the_rules_were_not_written_for_are_labelled_as_well(half):
    unseen = [(sentence, labelled(codes)) for part, sentence, codes in rows("unseen_sentences.tsv") if part == half]
    assert len(unseen) >= 130
    assert micro_f1([found(label_sentence(s)) for s, _ in unseen], [found(labels) for _, labels in unseen]) >= 0.93


def test_no_unseen_sentence_is_among_those_the_rules_are_tested_with():
    assert not {s for s, _ in sentences()} & {s for _, s, _ in rows("unseen_sentences.tsv")}


@pytest.mark.parametrize(
    ("plain", "otherwise"),
    [
        ("No pleural effusion.", "  NO   PLEURAL\tEFFUSION ."),
        ("There is air-space disease.", "there is air space disease"),
        ("Plate-like atelectasis.", "plate - like atelectasis ."),
        ("Heart size is normal, no effusion.", "heart size is normal , no effusion ."),
    ],
)
def test_case_spaces_and_punctuation_do_not_matter(plain, otherwise):
    assert label_sentence(plain) == label_sentence(otherwise) != {}


@pytest.mark.parametrize("sentence", ["", " . ", "?!", "12 3.5", "ñandú ☂", "no", "no or without", "x" * 20_000])
def test_what_says_nothing_gets_no_label(sentence):
    assert label_sentence(sentence) == {}


def test_normal_beside_a_denial_is_still_normal():
    assert label_sentence("No effusion and normal heart.") == {
        "Cardiomegaly": "negative",
        "Pleural Effusion": "negative",
    }
    assert label_sentence("The heart size is not normal.") == {"Cardiomegaly": "positive"}


def test_the_surest_mention_of_a_finding_counts():
    assert label_sentence("No left effusion, but a possible right effusion.") == {"Pleural Effusion": "uncertain"}
    assert label_sentence("Possible left effusion; there is a right effusion.") == {"Pleural Effusion": "positive"}


@pytest.mark.parametrize(
    ("report", "normal"),
    [
        (["The lungs are clear.", "No effusion."], True),
        (["Right PICC in place.", "Lungs are clear."], True),
        (["No effusion.", "Possible pneumonia."], False),
        (["No effusion.", "Emphysema is present."], False),
        (["No effusion.", "No hiatal hernia."], True),
        ([], False),
        (["  "], False),
    ],
)
def test_no_finding_is_what_is_left_when_nothing_is_found(report, normal):
    assert (label_report(report).get(NO_FINDING) == "positive") is normal


def test_a_report_says_the_surest_of_its_sentences():
    labels = label_report(["No effusion on the left.", "Small right effusion.", "No pneumothorax."])
    assert labels == {"Pneumothorax": "negative", "Pleural Effusion": "positive"}


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("effusion*", "two effusions ", True),
        ("effusion", "two effusions ", False),
        ("nodule*/mass", "a mass ", True),
        ("nodule*/mass", "a masses ", False),
        ("(pleural) fluid", "pleural fluid ", True),
        ("heart .. large", "heart is very large ", True),
        ("heart .. large", "heart , the liver is large ", False),
    ],
)
def test_phrases_are_read_as_the_rules_explain_them(phrase, text, found):
    assert bool(compile_phrases([phrase]).search(text)) is found


@pytest.mark.parametrize("phrase", ["effu[sion", "a-b", "(open", "Heart", "*", "a//b"])
def test_a_phrase_that_cannot_be_read_is_named(phrase):
    with pytest.raises(ValueError, match="is neither a word"):
        compile_phrases([phrase])
