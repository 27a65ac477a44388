"""Constrained decoding: whatever a model's scores are, an answer that ends is one the strict parsers read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from gazex.decoding import (
    EDGE,
    SPECIAL,
    Alt,
    BoxPrior,
    ConstrainedDecoder,
    ConstrainedLogits,
    DecodingError,
    GazePrior,
    Lit,
    Text,
    Vocabulary,
    grammar_of,
    symbols_of,
)
from gazex.model.config import SMALL_DIR
from gazex.tasks.formats import (
    Clue,
    Grounded,
    Line,
    Located,
    Step,
    format_grounded,
    format_located,
    format_report,
    format_sequence,
    format_steps,
    parse_grounded,
    parse_located,
    parse_report,
    parse_sequence,
    parse_steps,
    parse_vqa,
)


def given(*strategies, examples: int = 40):
    """Hypothesis without its clock: test machines are shared."""
    return lambda test: settings(max_examples=examples, deadline=None)(hypothesis_given(*strategies)(test))


PARSERS = {
    "report": parse_report,
    "vqa": parse_vqa,
    "fvp": parse_located,
    "gtm": parse_steps,
    "grounding": parse_grounded,
    "sda": lambda text: parse_sequence(text, 4),
}
BYTES = Vocabulary((*((b,) for b in range(256)), *((256 + k,) for k in range(len(SPECIAL))), ()), 256 + len(SPECIAL))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(SMALL_DIR)


@pytest.fixture(scope="module")
def decoders(tokenizer):
    vocabulary = Vocabulary.of(tokenizer)
    return {task: ConstrainedDecoder(grammar_of(task, frames=4), vocabulary) for task in PARSERS}


def written(tokenizer, decoder, choose, most: int) -> tuple[str, bool]:
    """What comes out where `choose(allowed, may_end)` names the next token; and whether the answer ended."""
    state, tokens = decoder.start, []
    while len(tokens) < most:
        allowed = decoder.allowed_tokens(state)
        assert len(allowed) > 0
        token = int(choose(allowed, decoder.accepts(state)))
        state = decoder.advance(state, token)
        if state == decoder.ended:
            return tokenizer.decode(tokens, skip_special_tokens=False), True
        tokens.append(token)
    return tokenizer.decode(tokens, skip_special_tokens=False), False


@pytest.mark.parametrize("task", PARSERS)
def test_whatever_is_drawn_from_the_allowed_tokens_parses_once_it_ends(tokenizer, decoders, task):
    decoder, ended = decoders[task], 0
    for seed in range(30):
        rng = np.random.default_rng(seed)

        def choose(allowed, may_end, rng=rng):
            if may_end and rng.random() < 0.3:
                return decoder.vocabulary.end
            return rng.choice(allowed)

        text, whole = written(tokenizer, decoder, choose, 400)
        if whole:
            assert PARSERS[task](text)
            ended += 1
    assert ended >= 4


@pytest.mark.parametrize("task", PARSERS)
def test_scores_that_hate_every_right_answer_still_cannot_make_a_wrong_one(tokenizer, decoders, task):
    """Three models: one wants the end at once or the last token there is, one the first, one the longest."""
    decoder = decoders[task]
    lengths = np.array([len(p) for p in decoder.vocabulary.pieces])
    for choose in (
        lambda allowed, may_end: decoder.vocabulary.end if may_end else allowed[-1],
        lambda allowed, may_end: decoder.vocabulary.end if may_end else allowed[0],
        lambda allowed, may_end: decoder.vocabulary.end if may_end else allowed[np.argmax(lengths[allowed])],
    ):
        text, whole = written(tokenizer, decoder, choose, 300)
        if whole:
            assert PARSERS[task](text)
        else:
            assert task in ("report", "gtm", "fvp")  # a text may go on for ever; its length stops it


coordinate = st.integers(0, 1000)
clues = st.lists(st.builds(Clue, coordinate, coordinate, st.integers(0, 99_999)), max_size=5).map(tuple)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
names = st.sampled_from(["Edema", "Pleural Effusion", "Lung Lesion", "Pleural Other"])
spoken = st.sampled_from(
    ["No pneumothorax.", "Heart size is normal.", "12 mm nodule, 3.5 cm; stable?", "Ångström (µm)."]
)
answers = st.one_of(
    st.tuples(st.just("fvp"), st.builds(Located, names, boxes, clues).map(format_located)),
    st.tuples(st.just("gtm"), st.lists(st.builds(Step, clues, spoken), min_size=1, max_size=12).map(format_steps)),
    st.tuples(
        st.just("report"),
        st.lists(st.one_of(st.builds(Line, spoken), st.builds(Line, spoken, names, boxes)), min_size=1, max_size=4).map(
            format_report
        ),
    ),
    st.tuples(
        st.just("grounding"),
        st.builds(Grounded, names, st.lists(boxes, min_size=1, max_size=4).map(tuple)).map(format_grounded),
    ),
    st.tuples(st.just("sda"), st.permutations([1, 2, 3, 4]).map(format_sequence)),
    st.tuples(st.just("vqa"), st.sampled_from(["no", "left", "right", "yes"])),
)


@given(answers, examples=80)
def test_every_right_answer_can_be_written_in_the_tokenizers_own_tokens(tokenizer, decoders, answer):
    task, text = answer
    decoder = decoders[task]
    state = decoder.read(tokenizer(text)["input_ids"])
    assert decoder.accepts(state)
    assert decoder.read([*tokenizer(text)["input_ids"], decoder.vocabulary.end, 5]) == decoder.ended


@pytest.mark.parametrize(
    ("task", "before", "allowed", "forbidden"),
    [
        ("vqa", "", "nlry", "abc"),
        ("fvp", "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(900,800),(", "19", "0345678,"),
        ("fvp", "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(900,800),(9", "0123456789", ","),
        ("fvp", "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(10", "0123456789,", "x"),
        ("fvp", "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(100", "0,", "123456789"),
        ("fvp", "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(0", ",", "0123456789"),
        ("sda", "<seq>3,1,", "24", "13,<"),
        ("sda", "<seq>3,1,2,4", "<", ",1234"),
        ("gtm", "<step n=1><gaze></gaze>Clear.</step><step n=", "2", "1345"),
        ("gtm", "<step n=1><gaze></gaze>", "aZ9(", " <>|\n"),
        ("report", "No effusion", ".?!a ", "\n<"),
        ("report", "No effusion.", "\na ", "<"),
    ],
)
def test_the_next_character_is_what_the_format_says(task, before, allowed, forbidden):
    decoder = ConstrainedDecoder(grammar_of(task, frames=4), BYTES)
    state = decoder.read(symbols_of(before))
    able = {int(t) for t in decoder.allowed_tokens(state)}
    assert {ord(c) for c in allowed} <= able
    assert not {ord(c) for c in forbidden} & able


def test_special_tokens_are_never_spelled_from_letters():
    decoder = ConstrainedDecoder(grammar_of("fvp"), BYTES)
    assert decoder.allowed_tokens(decoder.start).tolist() == [256 + SPECIAL.index("<|object_ref_start|>")]


def test_a_codec_of_another_size_has_its_own_largest_coordinates():
    decoder = ConstrainedDecoder(grammar_of("grounding", top=(55, 33)), BYTES)
    state = decoder.read(symbols_of("<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(55,33),(55,33)"))
    assert len(decoder.allowed_tokens(state)) == 1
    with pytest.raises(DecodingError, match="not allowed"):
        decoder.read(symbols_of("<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(56"))


def test_scores_are_masked_in_batches_of_different_questions(tokenizer):
    import torch

    vocabulary = Vocabulary.of(tokenizer)
    decoders = [ConstrainedDecoder(grammar_of("sda", frames=n), vocabulary) for n in (2, 3, 5)]
    logits = ConstrainedLogits(decoders, prompt_length=2)
    torch.manual_seed(0)
    ids = torch.zeros((3, 2), dtype=torch.long)
    for _ in range(40):
        scores = logits(ids, torch.randn(3, len(tokenizer) + 6))
        assert torch.isfinite(scores).any(dim=1).all()
        ids = torch.cat([ids, scores.argmax(dim=1)[:, None]], dim=1)
    for n, row in zip((2, 3, 5), ids[:, 2:].tolist(), strict=True):
        text = tokenizer.decode(row[: row.index(vocabulary.end)], skip_special_tokens=False)
        assert sorted(parse_sequence(text, n)) == list(range(1, n + 1))


COORDINATES = ["(0,", "(500,", "(980,", "0,", "500,", "980,", "0)", "500)", "980)"]
POINTS = Vocabulary(
    (*BYTES.pieces[:-1], *(tuple(text.encode()) for text in COORDINATES), ()), BYTES.end + len(COORDINATES)
)
TOKEN = {text: BYTES.end + k for k, text in enumerate(COORDINATES)}


def _weighed(gaze: list[np.ndarray], last: list[str], scores: dict[str, float]) -> list[dict[str, float]]:
    """What becomes of the scores of the coordinates in each row, after its last token."""
    import torch

    given = torch.zeros(len(gaze), len(POINTS.pieces))
    for text, score in scores.items():
        given[:, TOKEN[text]] = score
    ids = torch.tensor([[0, TOKEN.get(text, ord(">"))] for text in last])
    out = GazePrior(gaze, POINTS)(ids, given)
    rest = [k for k in range(len(POINTS.pieces)) if k not in TOKEN.values()]
    assert torch.equal(out[:, rest], given[:, rest])
    return [{text: float(row[token]) for text, token in TOKEN.items()} for row in out]


def test_a_points_first_number_is_weighed_by_the_best_place_in_its_column_and_its_second_by_the_place():
    gaze = np.array([[0.8, 0.1], [0.2, 0.4]])
    first, second = _weighed([gaze, gaze], [">", "(980,"], {"(0,": 1.0, "(980,": 1.2, "0,": 2.0, "980,": 1.0})
    # The likeliest scores what the likeliest did: 1.2 and 2.0; the others lie as far below as their products say.
    assert first["(0,"] == pytest.approx(1.2)
    assert first["(0,"] - first["(980,"] == pytest.approx(1.0 - 1.2 + np.log(0.8 / 0.4))
    assert (first["0,"], first["980,"]) == (2.0, 1.0)  # which say nothing before a first number
    assert second["0,"] - second["980,"] == pytest.approx(2.0 - 1.0 + np.log(0.1 / 0.4))
    assert max(second["0,"], second["980,"], second["500,"]) == pytest.approx(2.0)


def test_each_row_is_weighed_by_its_own_map():
    left, right = _weighed([np.array([[1.0, 0.1]]), np.array([[0.1, 1.0]])], [">", ">"], {})
    assert left["(0,"] > left["(980,"] and right["(0,"] < right["(980,"]


def test_a_place_that_was_never_looked_at_is_unlikely_and_not_impossible():
    (first,) = _weighed([np.array([[1.0, 0.0]])], [">"], {})
    assert first["(0,"] == pytest.approx(0.0) and first["(980,"] == pytest.approx(np.log(1e-3))


def test_where_all_places_are_alike_or_no_token_is_a_coordinate_nothing_changes():
    import torch

    assert set(_weighed([np.full((4, 4), 0.3)], ["(0,"], {})[0].values()) == {0.0}
    scores = torch.randn(1, len(BYTES.pieces))
    assert torch.equal(GazePrior([np.eye(4)], BYTES)(torch.tensor([[40]]), scores), scores)


BEGUN = "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>"
EDGES = {"Edema": ((0.1, 0.9, 0.5, 0.95), 0.8)}


def _tokens(text: str) -> list[int]:
    """A text as tokens of `POINTS`: coordinates are one each."""
    known = {**{name: symbols_of(name)[0] for name in SPECIAL}, **TOKEN}
    out: list[int] = []
    while text:
        name = max((n for n in known if text.startswith(n)), key=len, default=text[0])
        out.append(known.get(name, ord(name[0])))
        text = text.removeprefix(name)
    return out


def _cornered(answer: str, edges=EDGES) -> dict[str, float]:
    """By how much the prior of boxes changes the score of each coordinate, where all scored alike."""
    import torch

    given = torch.zeros(1, len(POINTS.pieces))
    out = BoxPrior([edges], POINTS)(torch.tensor([_tokens(answer)]), given)[0]
    rest = [k for k in range(len(POINTS.pieces)) if k not in TOKEN.values()]
    assert not out[rest].any()
    return {text: float(out[token]) for text, token in TOKEN.items()}


@pytest.mark.parametrize(
    ("written", "likeliest", "alone"),
    [("", "(0,", "("), ("(0,", "980)", ")"), ("(0,980),", "(500,", "("), ("(0,980),(500,", "980)", ")")],
    ids=["left", "top", "right", "bottom"],
)
def test_each_corner_of_a_box_is_drawn_to_where_the_heat_of_its_finding_ends(written, likeliest, alone):
    out = _cornered(BEGUN + written)
    asked = {text: score for text, score in out.items() if alone in text}
    assert asked[likeliest] == 0 and all(score < 0 for text, score in asked.items() if text != likeliest)
    assert all(score == 0 for text, score in out.items() if text not in asked)


def test_a_corner_far_from_the_heat_is_as_likely_as_the_finding_is_not_there():
    out = _cornered(BEGUN)
    near = 0.8 * np.exp(-0.1 / EDGE) / (2 * EDGE) + 0.2
    assert out["(980,"] - out["(0,"] == pytest.approx(np.log(0.2 / near), abs=1e-3)


@pytest.mark.parametrize(
    "answer",
    ["", "<|object_ref_start|>Edema", BEGUN.replace("Edema", "Fracture"), f"{BEGUN}(0,980),(500,980)",
     f"{BEGUN}(0,980),(500,980)<|box_end|><clues>"],
    ids=["nothing written", "no box yet", "a finding without heat", "both corners written", "after the box"],
)  # fmt: skip
def test_what_is_no_corner_of_a_known_findings_box_is_left_alone(answer):
    assert not any(_cornered(answer).values())


def test_a_finding_that_the_heat_holds_impossible_moves_no_corner():
    assert not any(_cornered(BEGUN, {"Edema": ((0.1, 0.9, 0.5, 0.95), 0.0)}).values())


def test_a_located_box_goes_where_the_heat_of_its_finding_lies(small, monkeypatch):
    import torch

    from gazex.infer import generate

    image = small.processor.patchify([np.full(small.network.config.image_size, 0.5, np.float32)])
    heat = torch.full((small.network.config.heat_channels, 28, 28), -20.0)
    heat[:, 14:18, 6:10] = 20.0
    monkeypatch.setattr(small.network, "heat_logits", lambda visual: [heat] * len(visual.grids))
    (text,) = generate(small.network, [image], 'Locate the evidence for: "Lung nodule."', 160, task="fvp")
    assert np.abs(np.array(parse_located(text).box) / 1000 - np.array([6, 14, 10, 18]) / 28).max() < 0.05


def test_a_trajectory_goes_where_the_heat_head_sees_gaze(small, monkeypatch):
    import torch

    from gazex.infer import STEPS_TOKENS, generate
    from gazex.tasks import gtm
    from gazex.tasks.formats import parse_steps

    image = small.processor.patchify([np.full(small.network.config.image_size, 0.5, np.float32)])

    def right() -> float:
        (text,) = generate(small.network, [image], gtm.PROMPT, STEPS_TOKENS, task="gtm")
        return float(np.mean([clue.u > 850 for step in parse_steps(text) for clue in step.gaze]))

    assert right() < 0.2
    heat = torch.full((small.network.config.heat_channels, 28, 28), -20.0)
    heat[-1, :, 24:] = 20.0  # of the whole dwell, where hardly anybody looks
    monkeypatch.setattr(small.network, "heat_logits", lambda visual: [heat] * len(visual.grids))
    assert right() > 0.6


def test_the_small_model_answers_in_the_format_asked_for(small):
    """Even asked for what it never learnt: with the mask, only what parses can come out."""
    from gazex.infer import generate

    image = small.processor.patchify([np.full(small.network.config.image_size, 0.5, np.float32)])
    for task, parse in (("grounding", parse_grounded), ("vqa", parse_vqa)):
        (text,) = generate(small.network, [image], "Where is Edema?", 400, task=task)
        assert text is not None and parse(text)


def test_a_decoder_is_kept_until_it_has_met_too_many_states(small, monkeypatch):
    from gazex.model import network

    first = small.network.decoder("fvp")
    assert small.network.decoder("fvp") is first and small.network.decoder("gtm") is not first
    first.read(small.processor.tokenizer("<|object_ref_start|>Edema<|object_ref_end|>")["input_ids"])
    monkeypatch.setattr(network, "MOST_STATES", 2)
    assert small.network.decoder("fvp") is not first


def test_what_follows_a_box_does_not_remember_its_corners():
    decoder = ConstrainedDecoder(grammar_of("grounding"), BYTES)
    ends = set()
    for box in ("(1,2),(30,40)", "(500,7),(501,900)", "(0,0),(0,0)"):
        ends.add(decoder.read(symbols_of(f"<|object_ref_start|>Edema<|object_ref_end|><|box_start|>{box}<|box_end|>")))
    assert len(ends) == 1


def test_a_vocabulary_that_could_not_go_on_and_questions_without_an_answer_are_refused():
    with pytest.raises(DecodingError, match=r"no token for"):
        Vocabulary(tuple((b,) for b in range(0x30, 0x3A)), 3)
    with pytest.raises(DecodingError, match="show two or more"):
        grammar_of("sda", frames=1)
    with pytest.raises(DecodingError, match="no grammar for the task “song”"):
        grammar_of("song")


def test_a_token_that_is_not_allowed_is_refused_and_named():
    decoder = ConstrainedDecoder(Alt((Lit("ab"), Text("."))), BYTES)
    with pytest.raises(DecodingError, match="Token 10 is not allowed"):
        decoder.advance(decoder.start, 10)
    assert decoder.mask([decoder.start, decoder.ended]).sum(axis=1).tolist()[1] == len(BYTES)


def test_a_free_text_has_few_states_however_long_it_is():
    """With a vocabulary of 150,000 tokens a state costs half a second: a text must not make one a letter."""
    decoder = ConstrainedDecoder(grammar_of("report"), BYTES)
    states = {decoder.read(b"No effusion on the left"[:n]) for n in range(24)}
    assert len(states) == 3  # nothing yet, after a letter, after a space
