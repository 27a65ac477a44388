"""Text measures: hand-worked values, what must hold of any text, and refusals in a sentence."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import text
from analysis.stats.text import TextError
from gazex.findings import FINDINGS, label_sentence
from tests.reference import REFERENCE, needs_reference

WORDS = st.lists(st.sampled_from(["no", "acute", "left", "effusion", "nodule", "heart", "normal", "is"]), max_size=12)
TEXTS = WORDS.map(" ".join)
SAID, TOLD = "the cat is on the mat", "the cat sat on the mat"


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_case_punctuation_and_blanks_do_not_count() -> None:
    assert text.tokens("The LUNGS are clear.") == text.tokens("the lungs — are clear ___")


def test_numbers_and_levels_stay_whole_and_compounds_are_cut() -> None:
    assert text.tokens("2.5-cm nodule at T12; follow-up") == ["2.5", "cm", "nodule", "at", "t12", "follow", "up"]


def test_letters_of_other_scripts_are_words() -> None:
    assert text.tokens("Kein Pleuraerguß, Größe 3,5 cm") == ["kein", "pleuraerguß", "größe", "3,5", "cm"]


def test_a_decimal_point_ends_no_sentence() -> None:
    assert text.sentences("A 2.5 cm nodule. No effusion.\n\nHeart normal") == [
        "A 2.5 cm nodule.",
        "No effusion.",
        "Heart normal",
    ]


def plain_bleu(said: str, told: str, n: int) -> float:
    """BLEU-n of one pair without smoothing, from its definition."""
    a, b = said.split(), told.split()
    logs = []
    for order in range(1, n + 1):
        grams = [Counter(tuple(x[i : i + order]) for i in range(len(x) - order + 1)) for x in (a, b)]
        matched, total = sum((grams[0] & grams[1]).values()), sum(grams[0].values())
        if not matched:
            return 0.0
        logs.append(math.log(matched / total))
    return math.exp(min(0.0, 1 - len(b) / len(a)) + sum(logs) / n)


def test_bleu_of_a_textbook_pair() -> None:
    found = text.bleu([SAID], [TOLD])
    assert found[1].corpus == pytest.approx(5 / 6)
    assert found[2].corpus == pytest.approx(math.sqrt(5 / 6 * 3 / 5))
    assert found[4].corpus == 0.0  # no four words in a row are shared
    assert found[4].pairs[0] == pytest.approx((5 / 6 * 3 / 5 * 1 / 4 * 1 / (2 * 3)) ** 0.25)  # smoothed


def test_corpus_bleu_follows_its_definition_and_pools_counts() -> None:
    for said, told in (("no left effusion", "no left pleural effusion is seen"), (SAID, TOLD)):
        for n in (1, 2):
            assert text.bleu([said], [told])[n].corpus == pytest.approx(plain_bleu(said, told, n))
    pooled = text.bleu(["no effusion", "heart normal size"], ["no effusion", "lungs clear today"])
    assert pooled[1].corpus == pytest.approx(2 / 5)


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    found = text.rouge_l(["police kill the gunman"], ["police killed the gunman"])
    assert found.pairs == (pytest.approx(0.75),)
    assert text.rouge_l(["a b c d e"], ["a x c"]).corpus == pytest.approx(2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3))


def test_meteor_counts_stems_and_penalises_scattered_matches() -> None:
    """Six of six words match in one chunk; then three of three in three chunks: the penalty is 0.5 · (chunks / m)³."""
    assert text.meteor(["small nodules"], ["small nodule"]).corpus == pytest.approx(1 - 0.5 * (1 / 2) ** 3)
    assert text.meteor(["c b a"], ["a b c"]).corpus == pytest.approx(1 - 0.5)


def test_meteor_says_which_matches_it_made() -> None:
    assert "exact and Porter-stem" in text.meteor(["a"], ["a"]).convention


def test_meteor_with_synonyms_refuses_without_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.data
    from nltk.corpus import util, wordnet

    if not isinstance(wordnet, util.LazyCorpusLoader) or type(wordnet).__name__ != "LazyCorpusLoader":
        pytest.skip("WordNet is loaded on this machine")
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(TextError, match="WordNet data, which is not on this machine"):
        text.meteor(["a"], ["a"], synonyms="wordnet")


def scores(said: list[str], told: list[Any]) -> dict[str, text.TextScores]:
    return {
        **{f"bleu{n}": found for n, found in text.bleu(said, told).items()},
        "rouge": text.rouge_l(said, told),
        "meteor": text.meteor(said, told),
    }


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_scores_lie_between_0_and_1_and_only_two_empty_texts_have_none(pairs: list[tuple[str, str]]) -> None:
    said, told = [list(column) for column in zip(*pairs, strict=True)]
    for found in scores(said, told).values():
        for (a, b), score in zip(pairs, found.pairs, strict=True):
            assert (score is None) == (not a and not b)
            assert score is None or 0 <= score <= 1
            if score is not None and not (a and b):
                assert score == 0
        assert (found.corpus is None) == (not any(a or b for a, b in pairs))


@given(WORDS.filter(bool).map(" ".join))
@settings(max_examples=30, deadline=None)
def test_a_text_is_like_itself_however_short(report: str) -> None:
    found = scores([report], [report])
    words = len(report.split())
    assert [found[f"bleu{n}"].pairs[0] for n in text.ORDERS] == pytest.approx([1.0] * 4)
    assert [found[f"bleu{n}"].corpus for n in text.ORDERS] == pytest.approx([1.0] * 4)
    assert found["rouge"].corpus == pytest.approx(1.0)
    # METEOR's one chunk costs a little even where all is equal; a repeated word may be matched crosswise for more.
    assert found["meteor"].corpus <= 1 - 0.5 / words**3 + 1e-12


@given(TEXTS, TEXTS)
@settings(max_examples=30, deadline=None)
def test_rouge_l_is_symmetric(a: str, b: str) -> None:
    assert text.rouge_l([a], [b]).corpus == text.rouge_l([b], [a]).corpus


def test_of_several_references_the_best_counts() -> None:
    found = scores(["no effusion", "heart normal"], [["lungs clear", "no effusion"], ["heart normal"]])
    assert found["rouge"].pairs == (1.0, 1.0)
    assert found["bleu2"].corpus == pytest.approx(1.0)
    assert found["meteor"].pairs[0] == pytest.approx(1 - 0.5 / 8)


def test_a_corpus_of_no_text_has_no_score() -> None:
    assert all(found.corpus is None and found.pairs == () for found in scores([], []).values())


@pytest.mark.parametrize(
    ("said", "told", "sentence"),
    [
        (["a"], ["a", "b"], "There are 1 texts and 2 references"),
        (["a", "b"], ["a", []], "Text 2 has no reference"),
        (["a", None], ["a", "b"], "Pair 2 holds something that is no text"),
    ],
)
def test_texts_that_cannot_be_paired_are_refused(said: Any, told: Any, sentence: str) -> None:
    for measure in (text.bleu, text.rouge_l, text.meteor):
        with pytest.raises(TextError, match=sentence):
            measure(said, told)


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_says_of_a_finding_what_its_surest_sentence_says() -> None:
    report = "No pneumothorax. A small pneumothorax is possible. There is a left effusion. No effusion on the right."
    labels = text.labels_of(report, label_sentence)
    assert labels["Pneumothorax"] == "uncertain"
    assert labels["Pleural Effusion"] == "positive"


def test_f1_counts_findings_over_all_texts() -> None:
    said = [{"A", "B"}, {"A"}, set()]
    true = [{"A"}, {"B"}, {"A"}]
    found = text.finding_scores(said, true, findings=["A", "B", "C"])
    a, b, c = (found.findings[name] for name in "ABC")
    assert (a.true_positive, a.false_positive, a.false_negative, a.true_negative) == (1, 1, 1, 0)
    assert (a.precision, a.recall, a.f1) == (0.5, 0.5, 0.5)
    assert (b.precision, b.recall, b.f1) == (0.0, 0.0, 0.0)
    assert (c.precision, c.recall, c.f1) == (None, None, None)
    assert (
        c.not_estimable == "not estimable, because it is never stated (no precision) and it is never true (no recall)"
    )
    assert found.micro.f1 == pytest.approx(2 / (2 + 2 + 2))
    assert found.macro == {"precision": 0.25, "recall": 0.25, "f1": 0.25}
    assert found.left_out == ("C",)
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_uncertain_counts_as_is_decided_and_said() -> None:
    said, true = [{"A": "uncertain"}], [{"A"}]
    assert text.finding_scores(said, true, findings=["A"]).micro.f1 == 1.0
    strict = text.finding_scores(said, true, findings=["A"], uncertain="negative")
    assert (strict.micro.f1, strict.micro.false_negative) == (0.0, 1)
    assert "as not stated" in strict.conventions[0]


def test_negative_mentions_and_other_findings_state_nothing() -> None:
    found = text.finding_scores([{"A": "negative", "Z": "positive"}], [{"Z"}], findings=["A"])
    assert (found.micro.true_negative, found.micro.f1) == (1, None)


SETS = st.lists(st.tuples(st.sets(st.sampled_from("ABC")), st.sets(st.sampled_from("ABC"))), max_size=8)


@given(SETS)
@settings(max_examples=60, deadline=None)
def test_counts_add_up_and_swapping_sides_swaps_precision_and_recall(pairs: list[tuple[set[str], set[str]]]) -> None:
    said, true = [a for a, _ in pairs], [b for _, b in pairs]
    one = text.finding_scores(said, true, findings=list("ABC"))
    other = text.finding_scores(true, said, findings=list("ABC"))
    for found in (*one.findings.values(), one.micro):
        size = len(pairs) * (3 if found is one.micro else 1)
        assert found.true_positive + found.false_positive + found.false_negative + found.true_negative == size
    assert (one.micro.precision, one.micro.recall, one.micro.f1) == (
        other.micro.recall, other.micro.precision, other.micro.f1,
    )  # fmt: skip
    if one.micro.precision and one.micro.recall:
        harmonic = 2 / (1 / one.micro.precision + 1 / one.micro.recall)
        assert one.micro.f1 == pytest.approx(harmonic)


@pytest.mark.parametrize(
    ("said", "true", "findings", "sentence"),
    [
        ([{"A"}], [], ["A"], "findings of 1 texts and of 0 references"),
        ([{"A"}], [{"A"}], [], "must be named"),
        ([{"A"}], [{"A"}], ["A", "A"], "each once"),
        ([{"A": "perhaps"}], [{"A"}], ["A"], "A: 'perhaps'"),
        (["A"], [{"A"}], ["A"], "'A' is a text"),
    ],
)
def test_findings_that_cannot_be_scored_are_refused(said: Any, true: Any, findings: Any, sentence: str) -> None:
    with pytest.raises(TextError, match=sentence):
        text.finding_scores(said, true, findings=findings)


def test_a_labeller_with_words_of_its_own_is_refused() -> None:
    with pytest.raises(TextError, match="The labeller calls Edema 'yes'"):
        text.labels_of("Edema.", lambda sentence: {"Edema": "yes"})


@needs_reference
def test_the_small_labeller_agrees_with_chexbert_on_dictated_sentences() -> None:
    with (REFERENCE / "chexbert_sentences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    said = [label_sentence(row["sentence"]) for row in rows]
    true = [{name.strip() for name in row["findings"].split(";") if name.strip()} for row in rows]
    found = text.finding_scores(said, true, findings=FINDINGS)
    assert found.micro.f1 is not None and found.micro.f1 > 0.7


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_iou_of_two_boxes() -> None:
    assert text.iou([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]]).tolist() == [[1 / 7, 1.0, 0.0]]


def test_boxes_without_area_are_alike_only_where_they_are_the_same() -> None:
    assert text.iou([[1, 1, 1, 1]], [[1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 3, 3]]).tolist() == [[1.0, 0.0, 0.0]]


EDGES = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted)
CORNERS = st.tuples(EDGES, EDGES).map(lambda v: (v[0][0], v[1][0], v[0][1], v[1][1]))
BOXES = st.lists(CORNERS, max_size=4)


@given(BOXES, BOXES)
@settings(max_examples=80, deadline=None)
def test_matching_is_the_best_one_to_one_and_areas_are_counted_cell_by_cell(a: list[Any], b: list[Any]) -> None:
    from itertools import permutations

    found = text.grounding(a, b)
    overlap = text.iou(a, b)
    short, long = sorted((len(a), len(b)))
    table = overlap if len(a) <= len(b) else overlap.T
    best = max((sum(table[i, p[i]] for i in range(short)) for p in permutations(range(long), short)), default=0.0)
    assert sum(found.matched) == pytest.approx(best)
    if not b:
        assert found.miou is None and found.not_estimable
    grids = []
    for boxes in (a, b):
        grid = np.zeros((6, 6), dtype=bool)
        for x0, y0, x1, y1 in boxes:
            grid[y0:y1, x0:x1] = True
        grids.append(grid)
    union = (grids[0] | grids[1]).sum()
    if union:
        assert found.union_iou == pytest.approx((grids[0] & grids[1]).sum() / union)
    else:
        assert found.union_iou is None


def test_a_box_counts_for_one_reference_box() -> None:
    found = text.grounding([[0, 0, 10, 10]], [[0, 0, 10, 10], [0, 0, 10, 10]])
    assert (found.matched, found.miou) == ((1.0, 0.0), 0.5)


def test_points_hit_the_boxes_they_lie_in() -> None:
    boxes = [[0, 0, 2, 2], [5, 5, 6, 6]]
    assert text.hits([[2, 2], [9, 9]], boxes).tolist() == [True, False]
    assert text.hits([], boxes).tolist() == [False, False]


@pytest.mark.parametrize("box", [[[2, 0, 1, 1]], [[0, 0, math.nan, 1]], [[0, 0, 1]]])
def test_a_box_that_is_none_is_refused(box: Any) -> None:
    with pytest.raises(TextError, match=r"are needed|make"):
        text.iou(box, [[0, 0, 1, 1]])


# ── measures of a trained model ───────────────────────────────────────────────────────────────────────────────────────


def chexbert_folder(folder: Path, *, chosen: dict[str, int]) -> Path:
    """A tiny BERT of random weights whose heads answer by their biases alone."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "effusion"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=16,
    )  # fmt: skip
    (folder / "config.json").write_text(config.to_json_string())
    state = {f"module.bert.{name}": value for name, value in transformers.BertModel(config).state_dict().items()}
    for number, finding in enumerate([*text.CheXbert.FINDINGS, "No Finding"]):
        classes = 2 if finding == "No Finding" else 4
        bias = torch.zeros(classes)
        bias[chosen.get(finding, 0)] = 1.0
        state |= {
            f"module.linear_heads.{number}.weight": torch.zeros(classes, 8),
            f"module.linear_heads.{number}.bias": bias,
        }
    torch.save({"epoch": 1, "model_state_dict": state}, folder / "chexbert.pth")
    return folder


def test_chexbert_is_read_from_a_folder(tmp_path: Path) -> None:
    """Random weights, so only that the checkpoint's heads become the right mentions of the right findings."""
    label = text.CheXbert(
        chexbert_folder(tmp_path, chosen={"Edema": 1, "Pneumonia": 2, "Pneumothorax": 3, "No Finding": 1})
    )
    assert label("No effusion " * 40) == {"Edema": "positive", "Pneumonia": "negative", "Pneumothorax": "uncertain"}
    assert text.labels_of("", label) == {}


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    folder = chexbert_folder(tmp_path, chosen={})
    torch.save({"model_state_dict": {"other": torch.zeros(1)}}, folder / "chexbert.pth")
    with pytest.raises(TextError, match="is not CheXbert's checkpoint"):
        text.CheXbert(folder)


@pytest.mark.parametrize(
    "load",
    [text.CheXbert, text.RadGraphF1, lambda folder: text.BertScore(folder, layer=1)],
    ids=["chexbert", "radgraph", "bertscore"],
)
def test_a_model_without_weights_is_refused_and_nothing_is_downloaded(tmp_path: Path, load: Any) -> None:
    with pytest.raises(TextError, match="nothing is downloaded: put them there"):
        load(tmp_path / "nowhere")


def test_a_missing_package_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bert_score", None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TextError, match="pip install bert-score"):
        text.BertScore(tmp_path, layer=1)
