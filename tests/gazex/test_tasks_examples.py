"""Examples of every task, on disk and as chat messages: what is written is read back, what is wrong is named."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from gazex.__main__ import main
from gazex.phantoms import make_phantom
from gazex.schema import Visit, VisitBox, write_visits
from gazex.tasks import fvp, grounding, gtm, published, report, sda
from gazex.tasks.build import build
from gazex.tasks.command import visit_of_folder
from gazex.tasks.example import TASKS, Example
from gazex.tasks.finished import Finished, QuarterBox, finish, finish_published
from gazex.tasks.formats import (
    Clue,
    Codec,
    Grounded,
    ParseError,
    PixelCodec,
    format_grounded,
    parse_grounded,
    parse_located,
    parse_report,
    parse_sequence,
    parse_steps,
    whole_sentence,
)
from gazex.tasks.jsonl import SCHEMA_FILE, ExamplesError, json_schema, read_examples, write_examples
from gazex.tasks.messages import media_of, messages_from, messages_of
from gazex.tasks.published import Place, Seen, format_seen, parse_ordered, parse_seen
from gazex.tasks.splits import by_split, leave_one_reader_out, split_of
from gazex.train.data import simulated_visit


def given(*strategies, examples: int = 40):
    """Hypothesis without its clock: test machines are shared."""
    return lambda test: settings(max_examples=examples, deadline=None)(hypothesis_given(*strategies)(test))


def phantom_visit(index: int = 3, **changes) -> Visit:
    visit = simulated_visit(make_phantom(31, index, (96, 96), normal_share=0.0, draw=False), seed=1)[0]
    return replace(visit, **changes)


@pytest.fixture(scope="module")
def visit() -> Visit:
    return phantom_visit()


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from gazex.model.config import SMALL_DIR

    return AutoTokenizer.from_pretrained(SMALL_DIR)


def parsed(example: Example):
    """Every answer is read back by the parser of its kind; which one the example itself tells."""
    frames = len(example.frames)
    if example.format == "published":
        if example.task == "fvp":
            return parse_seen(example.target)
        if example.task == "sda":
            whole = example.sentence < 0
            return parse_ordered(example.target, frames) if whole else parse_sequence(example.target, frames)
        return example.target
    if example.task == "gtm":
        return parse_report(example.target) if frames else parse_steps(example.target)
    if example.task == "sda":
        return parse_sequence(example.target, frames)
    return {"report": parse_report, "fvp": parse_located, "grounding": parse_grounded, "vqa": str}[example.task](
        example.target
    )


# ── what is built ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["ours", "published"])
def test_every_answer_of_every_task_parses_and_says_where_it_came_from(visit, kind):
    made = build(visit, format=kind, seed=4)
    assert {e.task for e in made} == (set(TASKS) if kind == "ours" else {"fvp", "gtm", "sda"})
    for example in made:
        assert parsed(example)
        assert (example.visit, example.reader, example.patient, example.study) == (
            visit.id,
            visit.reader,
            visit.patient,
            visit.study,
        )
        assert (example.rows, example.columns, example.format) == (visit.rows, visit.columns, kind)
        assert ("video" in example.media) == bool(example.frames)


def test_the_same_seed_makes_the_same_examples_and_finished_boxes_change_nothing(visit):
    assert build(visit, seed=2) == build(visit, seed=2, finished=finish(visit))
    assert build(visit, seed=2, format="published") == build(
        visit, seed=2, format="published", finished=finish_published(visit)
    )
    orders = [tuple(e.target for e in build(visit, tasks=["sda"], seed=seed)) for seed in range(6)]
    assert len(set(orders)) > 1


def test_a_sentence_is_told_from_its_own_key_frames_in_the_order_they_were_looked_at(visit):
    finished = finish(visit)
    own = gtm.by_sentence(visit, finished=finished)
    assert own and all(e.media == ("video", "image") for e in own)
    for example in own:
        assert list(example.frames) == [c.box for c in finished.of(example.sentence)]
        assert example.target == whole_sentence(visit.sentences[example.sentence][0])
    whole = gtm.with_video(visit, finished=finished)[0]
    assert len(whole.frames) == sum(len(c) for c in finished.clusters)


def test_the_order_is_the_inverse_of_the_shuffle_from_one_with_commas_and_one_frame_has_none():
    frames = [(float(k), 0.0, k + 1.0, 1.0) for k in range(12)]
    shown, order = sda.shuffled(frames, np.random.default_rng(1))
    assert [shown[n - 1] for n in order] == frames and sorted(order) == list(range(1, 13))
    assert sda.shuffled(frames[:1], np.random.default_rng(1)) is None
    assert sda.shuffled([frames[0], frames[0]], np.random.default_rng(1)) is None, "two equal frames have no order"


def test_marks_become_grounding_with_all_boxes_of_a_finding_and_side():
    marks = [
        VisitBox("Lung Lesion", "left", (10.0, 10.0, 20.0, 20.0)),
        VisitBox("Lung Lesion", "left", (40.0, 2.0, 50.0, 9.0)),
        VisitBox("Edema", "bilateral", (0.0, 0.0, 95.0, 95.0)),
        VisitBox("Fracture", "", (200.0, 200.0, 210.0, 210.0)),
    ]
    made = grounding.examples(phantom_visit(boxes=marks))
    assert [e.prompt for e in made] == ["Where is Lung Lesion on the left?", "Where is Edema?"]
    assert [len(parse_grounded(e.target).boxes) for e in made] == [2, 1]


def test_a_finding_nobody_spoke_of_is_not_asked_for():
    said = phantom_visit(labels={"Edema": True}, sentences=[("No pneumothorax.", 1.0, 2.0), ("Odd.", 3.0, 4.0)])
    answers = {e.prompt: e.target for e in build(said, tasks=["vqa"])}
    assert answers == {"Is there Edema?": "yes", "Is there Pneumothorax?": "no"}


def test_targets_are_in_the_codecs_coordinates(visit):
    codec = PixelCodec(visit.rows, visit.columns, 56, 28)
    for example in fvp.examples(visit, codec=codec):
        located = parse_located(example.target, codec.top)
        assert located.box[2] <= 27 and located.box[3] <= 55
    with pytest.raises(ParseError, match="0–27"):
        parse_located(fvp.examples(visit)[0].target, codec.top)


@given(st.integers(8, 4000), st.integers(8, 4000), st.integers(8, 1200), st.integers(8, 1200), st.floats(0, 1))
def test_resized_pixels_survive_their_codec_within_half_a_resized_pixel(rows, columns, seen_rows, seen_columns, at):
    codec = PixelCodec(rows, columns, seen_rows, seen_columns)
    x, y = at * (columns - 1), (1 - at) * (rows - 1)
    u, v = codec.encode(x, y)
    assert 0 <= u < seen_columns and 0 <= v < seen_rows
    back = codec.decode(u, v)
    assert abs(back[0] - x) <= 0.5 * columns / seen_columns + 1e-6
    assert abs(back[1] - y) <= 0.5 * rows / seen_rows + 1e-6
    assert codec.encode(-50.0, 1e9) == (0, seen_rows - 1)


def test_empty_visits_give_what_is_left_and_never_fail(visit):
    mute = replace(visit, sentences=[])
    assert {e.task for e in build(mute)} == {"vqa", "grounding"}
    blind = replace(visit, t_s=np.zeros(0), x=np.zeros(0), y=np.zeros(0))
    assert {e.task for e in build(blind)} == {"report", "vqa", "grounding"}
    assert build(mute, format="published") == []
    assert [e.prompt for e in build(blind, format="published")] == [published.PROMPTS["gtm_image"]]
    wordless = replace(visit, sentences=[(" . ", 1.0, 2.0), ("", 2.0, 3.0)])
    assert {e.task for e in build(wordless)} == {"vqa", "grounding", "sda"}


@given(st.text(max_size=40), examples=60)
def test_whatever_a_reader_says_its_report_parses(text):
    said = phantom_visit(sentences=[(text, 1.0, 8.0), ("No edema", 9.0, 12.0)])
    for example in report.examples(said) + report.examples(said, boxes=True) + gtm.examples(said):
        assert parsed(example)


# ── formats ───────────────────────────────────────────────────────────────────────────────────────────────────────────

whole = st.integers(0, 9999)
places = st.tuples(whole, whole, whole, whole, whole, whole).map(
    lambda v: Place((min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])), (v[4], v[5]))
)
coordinate = st.integers(0, 1000)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(st.builds(Seen, st.lists(places, max_size=5).map(tuple), places))
def test_the_published_answer_survives_its_text(seen):
    assert parse_seen(format_seen(seen)) == seen


@given(st.builds(Grounded, st.sampled_from(["Edema", "Pleural Other"]), st.lists(boxes, min_size=1).map(tuple)))
def test_grounded_boxes_survive_their_text(grounded):
    assert parse_grounded(format_grounded(grounded)) == grounded


PIECES = (
    *("0", "9", "1000", "10001", "٣", ",", "(", ")", "[", "]", ".", " ", "No", "\n", "no", "Edema", "user"),
    *("<seq>", "</seq>", "<step n=1>", "</step>", "<gaze>", "</gaze>", "<clues>", "</clues>", "<description>"),
    *("</description>", "<|box_start|>", "<|box_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("visual clues : [", "observation : [", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>"),
)
MARKUP = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(st.one_of(MARKUP, st.text(max_size=40)), examples=300)
def test_markup_in_any_order_is_parsed_or_refused_and_nothing_else_happens(text):
    for parse in (
        parse_seen,
        parse_grounded,
        parse_located,
        parse_steps,
        parse_report,
        messages_from,
        lambda t: parse_sequence(t, 3),
        lambda t: parse_ordered(t, 3),
    ):
        with contextlib.suppress(ParseError):
            assert parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (lambda t: parse_sequence(t, 3), f"<seq>{'9' * 5000},1,2</seq>"),
        (lambda t: parse_sequence(t, 3), "<seq>1,٢,3</seq>"),
        (lambda t: parse_sequence(t, 3), "<seq>1,2,3</seq> "),
        (parse_grounded, "<|object_ref_start|>Edema<|object_ref_end|>"),
        (parse_grounded, "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(1,2),(3)<|box_end|>"),
        (parse_grounded, "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(4,2),(3,9)<|box_end|>"),
        (parse_seen, "visual clues : [] observation : [(1,2)(3,4)(2,3)]"),
        (parse_seen, "observation : [(5,2)(3,4)(2,3)]"),
        (parse_seen, "visual clues : [(1,2)(3,4)(2,3)]"),
        (lambda t: parse_ordered(t, 2), "<seq>1,2</seq><description> </description>"),
        (lambda t: parse_ordered(t, 2), "<seq>12</seq><description>Clear.</description>"),
        (parse_steps, "<step n=1><gaze></gaze> </step>"),
        (messages_from, "<|im_start|>user\nhello"),
        (messages_from, "<|im_start|>user\n<|vision_start|>hello<|im_end|>\n"),
    ],
)
def test_what_is_nearly_right_is_refused_in_one_sentence(parse, text):
    with pytest.raises(ParseError, match=r"^[A-Z][^\n]*\.$"):
        parse(text)


# ── the published format ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_published_answer_holds_each_cluster_and_one_observation_in_quarter_pixels(visit):
    box = QuarterBox(0, (1, 2, 3, 4), (2.9, 3.2))
    other = QuarterBox(1, (5, 6, 7, 8), (6.0, 7.999))
    holistic = QuarterBox(-1, (1, 2, 7, 8), (4.4, 5.5))
    two = replace(visit, sentences=[("It's dense.", 2.0, 3.0), ("Clear.", 4.0, 5.0)])
    finished = Finished(quarter=((box, other, holistic), (holistic,)))
    first, second = published.fvp(two, finished=finished)
    assert first.target == "visual clues : [(1,2)(3,4)(2,3),(5,6)(7,8)(6,7)] observation : [(1,2)(7,8)(4,5)]"
    assert second.target == "observation : [(1,2)(7,8)(4,5)]"
    assert "'It's dense.'" in first.prompt and first.sentence == 0
    assert box.frame() == (4.0, 8.0, 15.0, 19.0)
    order = published.sda(two, seed=0, finished=finished)
    assert [e.sentence for e in order] == [0], "equal holistic frames have no order, nor has a single frame"


def test_other_wording_fills_its_places_and_leaves_other_braces(visit):
    wording = {**published.PROMPTS, "fvp": "<image>{sentence} {other} {{}}"}
    example = published.fvp(visit, prompts=wording)[0]
    assert example.prompt == f"<image>{visit.sentences[example.sentence][0]} {{other}} {{{{}}}}"


# ── chat messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["ours", "published"])
def test_messages_survive_the_chat_template_and_the_tokenizer(visit, tokenizer, kind):
    for example in build(visit, format=kind):
        messages = messages_of(example)
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert messages_from(text) == messages
        back = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=False)
        assert messages_from(back) == messages
        assert sorted(media_of(messages)) == sorted(example.media)
        question = tokenizer.apply_chat_template(
            messages_of(example, answer=False), tokenize=False, add_generation_prompt=True
        )
        assert text.startswith(question.removesuffix("<|im_start|>assistant\n"))


def test_a_prompt_that_places_other_media_than_it_has_is_refused(visit):
    example = replace(report.examples(visit)[0], prompt="<video>Report.")
    with pytest.raises(ValueError, match="places video; the example has image"):
        messages_of(example)


# ── on disk ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_examples_come_back_as_they_were_written(visit, tmp_path: Path):
    made = build(visit) + build(visit, format="published")
    assert write_examples(tmp_path / "a.jsonl", made) == len(made)
    assert read_examples(tmp_path / "a.jsonl") == made


def test_the_schema_file_is_the_schema_and_the_examples_follow_it(visit):
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == json_schema()
    for example in build(visit):
        assert follows(example.to_dict(), json_schema())
    for name in json_schema()["required"]:
        assert not follows({**example.to_dict(), name: {}}, json_schema())


def follows(value, schema) -> bool:
    """The few words of JSON Schema that ours is made of."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    assert set(schema) <= {
        "$schema", "title", "description", "type", "const", "enum", "properties", "required", "additionalProperties",
        "items", "minItems", "maxItems", "minLength", "minimum",
    }  # fmt: skip
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        return set(schema["required"]) <= set(value) <= set(known) and all(
            follows(v, known[k]) for k, v in value.items()
        )
    if isinstance(value, list):
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        return least <= len(value) <= most and all(follows(v, schema["items"]) for v in value)
    size = len(value) if isinstance(value, str) else value
    return bool(size >= schema.get("minLength" if isinstance(value, str) else "minimum", size))


GOOD = json.dumps(Example("vqa", "Is there Edema?", "no", "v", "r", "p", "s").to_dict())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{nonsense", "is not JSON"),
        ("[1]", "is not a JSON object"),
        (GOOD.replace("examples/1", "examples/9"), "has the schema “gazeroom.examples/9”"),
        (GOOD.replace('"vqa"', '"song"'), "has the task “song”"),
        (GOOD.replace('"reader": "r", ', ""), "has no “reader”"),
        (GOOD.replace('"reader": "r"', '"reader": ""'), "has a “reader” that is not text"),
        (GOOD.replace('"rows": 0', '"rows": 0.5'), "has a “rows” that is not a whole number"),
        (GOOD.replace('"media": ["image"]', '"media": ["smell"]'), "has media other than"),
        (GOOD.replace('"frames": []', '"frames": [[1, 2, 3]]'), "has a frame that is not four numbers"),
        (GOOD.replace('"frames": []', '"frames": [[1, 2, 3, NaN]]'), "has a frame that is not four numbers"),
        (GOOD[:-1] + ', "extra": 1}', "has a field “extra”"),
    ],
)
def test_a_line_that_is_no_example_is_named_by_its_number(tmp_path: Path, line: str, why: str):
    (tmp_path / "a.jsonl").write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ExamplesError, match=rf"^a.jsonl line 3 {why}[^\n]*\.$"):
        read_examples(tmp_path / "a.jsonl")


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ExamplesError, match="line 1 is not UTF-8"):
        read_examples(tmp_path / "a.jsonl")
    with pytest.raises(ExamplesError, match="There is no file"):
        read_examples(tmp_path / "b.jsonl")


def test_nothing_half_written_is_left_where_building_fails(visit, tmp_path: Path):
    def failing():
        yield report.examples(visit)[0]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_examples(tmp_path / "a.jsonl", failing())
    assert list(tmp_path.iterdir()) == []


# ── splits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_patients_split_is_fixed_for_ever():
    """These are promises: a change here moves patients between training and test."""
    kept = {
        "p1": "train",
        "p2": "validation",
        "p3": "train",
        "patient-8": "train",
        "10000032": "train",
        "p15": "test",
        "p18": "test",
    }
    assert {p: split_of(p) for p in kept} == kept
    shares = [split_of(f"patient {k}") for k in range(20_000)]
    assert abs(shares.count("train") / 20_000 - 0.8) < 0.01
    assert abs(shares.count("test") / 20_000 - 0.1) < 0.01
    assert any(split_of(f"patient {k}", salt="another") != shares[k] for k in range(50))


def test_a_reader_left_out_shares_neither_readings_nor_patients_with_training():
    readings = [Example("vqa", "q", "a", f"v{r}-{p}", f"r{r}", f"p{p}", "s") for r in range(3) for p in range(60)]
    folds = leave_one_reader_out(readings)
    assert [f.reader for f in folds] == ["r0", "r1", "r2"]
    for fold in folds:
        assert fold.train and fold.test
        assert {e.reader for e in fold.test} == {fold.reader} and fold.reader not in {e.reader for e in fold.train}
        assert not {e.patient for e in fold.test} & {e.patient for e in fold.train}
    assert sum(len(v) for v in by_split(readings).values()) == len(readings)
    with pytest.raises(ValueError, match="all readings are by “r0”"):
        leave_one_reader_out(readings[:60])


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def visits_folder(tmp_path: Path, visit: Visit) -> Path:
    second = phantom_visit(5)
    pixels = np.zeros((96, 96), np.uint16)
    return write_visits(tmp_path / "visits", [(visit, pixels), (second, pixels)])


def reflacx(folder: Path, words: str = "no,1.0,1.5\npneumothorax,1.5,2.0\n.,2.0,2.1\n") -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    t = np.arange(0, 3, 0.004)
    ppd = "angular_resolution_x_pixels_per_degree,angular_resolution_y_pixels_per_degree"
    rows = [f"{a:.3f},{100 + rng.normal():.2f},{80 + rng.normal():.2f},38.0,39.0" for a in t]
    (folder / "gaze.csv").write_text("\n".join([f"timestamp_sample,x_position,y_position,{ppd}", *rows]) + "\n")
    header = "word,timestamp_start_word,timestamp_end_word\n"
    (folder / "timestamps_transcription.csv").write_text(header + words)
    return folder


def run(*arguments: object) -> int:
    return main(["examples", *map(str, arguments)])


def test_the_command_writes_a_folder_of_visits(visits_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "e.jsonl"
    assert run(visits_folder, "--out", out, "--tasks", "fvp,sda", "--seed", 3) == 0
    told = json.loads(capsys.readouterr().out)
    made = read_examples(out)
    assert (
        told["examples"] == len(made) and {e.task for e in made} == {"fvp", "sda"} and len({e.visit for e in made}) == 2
    )
    again = tmp_path / "f.jsonl"
    assert run(visits_folder, "--out", again, "--tasks", "fvp,sda", "--seed", 3) == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_command_reads_reflacx_folders_with_what_their_table_tells(tmp_path: Path, capsys):
    one, two = (reflacx(tmp_path / "gaze" / name) for name in ("P101R1", "P101R2"))
    (tmp_path / "gaze" / "metadata_phase_1.csv").write_text(
        "id,image,dicom_id,subject_id,image_size_x,image_size_y\nP101R1,i/a.jpg,d1,s9,200,160\nP101R2,i/b.jpg,d2,s8,200,160\n"
    )
    out = tmp_path / "e.jsonl"
    assert run(one, two, "--out", out, "--format", "published", "--reader", "anna") == 0
    made = read_examples(out)
    assert {(e.patient, e.study, e.reader, e.columns, e.rows) for e in made} == {
        ("s9", "d1", "anna", 200, 160),
        ("s8", "d2", "anna", 200, 160),
    }
    assert {e.target for e in made if e.task == "gtm"} == {"no pneumothorax."}
    assert visit_of_folder(one).labels == {}
    assert run(one, "--out", tmp_path / "x.jsonl", "--width", 300, "--height", 160) == 2
    assert "was read on an image of 200 × 160 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("no,,\npneumothorax,1.5,2.0\n.,2.0,2.1\n", "has no times for the sentence"),
        ("no,1.0,1.5\n", "holds no sentence"),
    ],
)
def test_sentences_without_times_or_end_are_refused_with_nothing_written(tmp_path: Path, capsys, words, why):
    folder = reflacx(tmp_path / "P101R1", words)
    out = tmp_path / "out" / "e.jsonl"
    assert run(folder, "--out", out, "--width", 200, "--height", 160) == 2
    told = capsys.readouterr().err.strip()
    assert why in told and told.endswith(".") and "\n" not in told
    assert not out.exists() and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--tasks", "song"), "There is no task “song”; tasks are report, vqa, fvp, gtm, sda, grounding."),
        (("--format", "poem"), "There is no format “poem”"),
        (("--format", "published", "--tasks", "vqa"), "The published format has fvp, gtm, sda only"),
        (("--split", "holdout"), "There is no split “holdout”"),
        (("--seed", "-1"), "--seed is -1"),
        (("--prompts", "nothing.json"), "There is no file nothing.json"),
    ],
)
def test_what_is_asked_wrongly_is_answered_in_one_sentence(visits_folder: Path, tmp_path: Path, capsys, arguments, why):
    out = tmp_path / "e.jsonl"
    assert run(visits_folder, "--out", out, *arguments) == 2
    told = capsys.readouterr().err.strip()
    assert why in told and "\n" not in told and not out.exists()


def test_folders_without_readings_and_readings_twice_are_refused(visits_folder: Path, tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    for folders, why in (
        ([tmp_path / "empty"], "holds neither visits.jsonl nor gaze.csv"),
        ([tmp_path / "none"], "There is no folder"),
        ([visits_folder, visits_folder], "Two readings are called"),
    ):
        assert run(*folders, "--out", tmp_path / "e.jsonl") == 2
        assert why in capsys.readouterr().err
    (visits_folder / "visits.jsonl").write_text((visits_folder / "visits.jsonl").read_text() + "{broken\n")
    assert run(visits_folder, "--out", tmp_path / "e.jsonl") == 2
    assert "visits.jsonl line 3 is not a visit" in capsys.readouterr().err
    assert not (tmp_path / "e.jsonl").exists()


def test_a_visit_with_nothing_in_it_is_told_of_and_alone_it_is_an_error(visit, tmp_path: Path, capsys, caplog):
    nothing = replace(visit, sentences=[], t_s=np.zeros(0), x=np.zeros(0), y=np.zeros(0), labels={}, boxes=[])
    pixels = np.zeros((96, 96), np.uint16)
    folder = write_visits(tmp_path / "one", [(nothing, pixels)])
    assert run(folder, "--out", tmp_path / "e.jsonl") == 2
    assert "gives no example of report, vqa" in capsys.readouterr().err and not (tmp_path / "e.jsonl").exists()
    assert "has no sentences and no gaze" in caplog.text


def test_prompts_of_a_file_replace_ours_and_unknown_names_are_refused(visits_folder: Path, tmp_path: Path, capsys):
    wording, out = tmp_path / "p.json", tmp_path / "e.jsonl"
    wording.write_text(json.dumps({"gtm_image": "<image> Tell."}))
    assert run(visits_folder, "--out", out, "--format", "published", "--prompts", wording) == 0
    assert "<image> Tell." in {e.prompt for e in read_examples(out)}
    wording.write_text(json.dumps({"haiku": "?"}))
    assert run(visits_folder, "--out", out, "--format", "published", "--prompts", wording) == 2
    assert "names a prompt “haiku”" in capsys.readouterr().err


def test_building_examples_imports_no_torch(visits_folder: Path, tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import sys; from gazex.__main__ import main; "
        f"main(['examples', {str(visits_folder)!r}, '--out', {str(tmp_path / 'e.jsonl')!r}]); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_clues_and_codec_agree_on_what_a_point_is():
    assert Clue(*Codec(100, 200).encode(99.5, 49.5), 10) == Clue(500, 500, 10)
