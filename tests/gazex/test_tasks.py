"""Visits become examples whose targets the strict parsers read back."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from gazex.evidence import clusters_of, condense, fixations, gaze_in, observation_box, window_of
from gazex.findings import FINDINGS, label_sentence, side_of
from gazex.phantoms import make_phantom
from gazex.schema import Visit
from gazex.tasks import fvp, gtm, report, sda, vqa
from gazex.tasks.formats import (
    Clue,
    Codec,
    Line,
    Located,
    ParseError,
    Step,
    clean_text,
    format_located,
    format_report,
    format_sequence,
    format_steps,
    parse_located,
    parse_report,
    parse_sequence,
    parse_steps,
    parse_vqa,
)
from gazex.train.data import heat_target, simulated_visit


def given(*strategies, examples: int = 40):
    """Hypothesis without its clock: test machines are shared."""
    return lambda test: settings(max_examples=examples, deadline=None)(hypothesis_given(*strategies)(test))


coordinate = st.integers(0, 1000)
clues = st.lists(st.builds(Clue, coordinate, coordinate, st.integers(0, 99_999)), max_size=5).map(tuple)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
sentences = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).map(clean_text).filter(bool)
endings = sentences.map(lambda s: f"{s}.")


def phantom_visit(index: int, **more) -> Visit:
    return simulated_visit(make_phantom(31, index, (96, 96), normal_share=0.0, draw=False), seed=1, **more)[0]


@given(st.builds(Located, st.sampled_from(FINDINGS), boxes, clues))
def test_a_located_finding_survives_its_text(located):
    assert parse_located(format_located(located)) == located


@given(st.lists(st.builds(Step, clues, sentences), min_size=1, max_size=12))
def test_an_inspection_survives_its_text(steps):
    assert parse_steps(format_steps(steps)) == tuple(steps)


@given(
    st.lists(
        st.one_of(st.builds(Line, endings), st.builds(Line, endings, st.sampled_from(FINDINGS), boxes)), min_size=1
    )
)
def test_a_report_survives_its_text(lines):
    assert parse_report(format_report(lines)) == tuple(lines)


@given(st.permutations(list(range(1, 9))))
def test_an_order_survives_its_text(order):
    assert parse_sequence(format_sequence(order), 8) == tuple(order)


@given(st.text(max_size=60))
def test_no_text_makes_a_parser_do_anything_but_parse_or_refuse(text):
    for parse in (parse_located, parse_steps, parse_report, parse_vqa, lambda t: parse_sequence(t, 3)):
        with contextlib.suppress(ParseError):
            assert parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (
            parse_located,
            "<|object_ref_start|>Nodule<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|><clues></clues>",
        ),
        (
            parse_located,
            "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(9,2),(3,4)<|box_end|><clues></clues>",
        ),
        (
            parse_located,
            "<|object_ref_start|>Edema<|object_ref_end|><|box_start|>(1,2),(3,1001)<|box_end|><clues></clues>",
        ),
        (parse_steps, "<step n=2><gaze>(1,2,3)</gaze>No effusion.</step>"),
        (parse_steps, "<step n=1><gaze>(1,2,3)</gaze>No effusion."),
        (parse_steps, "<step n=1><gaze>(1,2)</gaze>No effusion.</step>"),
        (parse_steps, "<step n=1><gaze>(01,2,3)</gaze>No effusion.</step>"),
        (parse_report, "No effusion.\n\nNo nodule."),
        (parse_report, "No effusion"),
        (parse_report, "No effusion.<|box_start|>(1,2),(3,4)<|box_end|>"),
        (parse_vqa, "maybe"),
        (lambda t: parse_sequence(t, 3), "<seq>1,2,2</seq>"),
        (lambda t: parse_sequence(t, 3), "<seq>123</seq>"),
    ],
)
def test_what_is_nearly_right_is_refused_and_not_repaired(parse, text):
    with pytest.raises(ParseError):
        parse(text)


@given(st.integers(8, 4000), st.integers(8, 4000), st.floats(0, 1), st.floats(0, 1))
def test_coordinates_survive_the_codec_within_half_a_thousandth(rows, columns, fx, fy):
    codec = Codec(rows, columns)
    x, y = fx * (columns - 1), fy * (rows - 1)
    back = codec.decode(*codec.encode(x, y))
    assert abs(back[0] - x) <= columns / 2000 + 1e-9 and abs(back[1] - y) <= rows / 2000 + 1e-9


@given(st.integers(0, 500), examples=12)
def test_every_task_makes_examples_that_parse_and_name_their_visit(index):
    visit = phantom_visit(index)
    for example in report.examples(visit) + report.examples(visit, boxes=True):
        assert len(parse_report(example.target)) == 5
    assert len(parse_steps(gtm.examples(visit)[0].target)) == 5
    found = fvp.examples(visit)
    assert {parse_located(e.target).finding for e in found} == set(visit.labels)
    assert {e.target for e in vqa.examples(visit)} <= {"no", "left", "right", "yes"}
    for example in sda.examples(visit, seed=3):
        parse_sequence(example.target, len(example.frames))
    every = report.examples(visit) + gtm.examples(visit) + found + vqa.examples(visit) + sda.examples(visit, seed=3)
    assert {(e.visit, e.reader, e.patient, e.study) for e in every} == {
        (visit.id, "simulated", visit.patient, "phantoms")
    }


@given(st.permutations(list(range(7))))
def test_the_scan_order_is_the_inverse_of_the_shuffle(shuffle):
    frames = [f"frame {k}" for k in range(7)]
    shown = [frames[k] for k in shuffle]
    assert [shown[n - 1] for n in sda.viewing_order(np.array(shuffle))] == frames


def test_the_scan_order_leads_through_the_key_frames_in_time():
    visit = phantom_visit(2)
    whole = sda.examples(visit, seed=5)[0]
    order = parse_sequence(whole.target, len(whole.frames))
    times = {}
    for k in range(len(visit.sentences)):
        for cluster in clusters_of(visit, k):
            times.setdefault(cluster.box, cluster.time_s)
    seen = [times[whole.frames[n - 1]] for n in order]
    assert len(seen) >= 3 and seen == sorted(seen)
    assert sda.examples(visit, seed=5) == sda.examples(visit, seed=5)


def test_the_vqa_answer_is_the_patients_side_or_no():
    visit = replace(phantom_visit(1), labels={"Pneumothorax": "left", "Cardiomegaly": "", "Consolidation": True})
    answers = {e.prompt: e.target for e in vqa.examples(visit)}
    assert answers[vqa.prompt("Pneumothorax")] == "left"
    assert answers[vqa.prompt("Cardiomegaly")] == "yes" == answers[vqa.prompt("Consolidation")]
    assert answers[vqa.prompt("Lung Lesion")] == "no"


def test_the_gaze_box_of_a_finding_covers_its_middle():
    hits = []
    for index in range(25):
        phantom = make_phantom(31, index, (96, 96), normal_share=0.0, draw=False)
        visit, _ = simulated_visit(phantom, seed=1)
        for k, (text, _, _) in enumerate(visit.sentences):
            affirmed = [f for f, mention in label_sentence(text).items() if mention == "positive"]
            for finding in phantom.findings:
                if finding.finding in affirmed:
                    x0, y0, x1, y1 = observation_box(clusters_of(visit, k))
                    cx, cy = (finding.box[0] + finding.box[2]) / 2, (finding.box[1] + finding.box[3]) / 2
                    hits.append(x0 <= cx <= x1 and y0 <= cy <= y1)
    assert len(hits) > 25 and np.mean(hits) > 0.85


def test_a_sentence_owns_the_gaze_from_two_seconds_before_its_first_word():
    t = np.arange(0, 10, 0.1)
    visit = replace(
        phantom_visit(1), t_s=t, x=np.full(100, 5.0), y=np.full(100, 5.0), sentences=[("No edema.", 5.0, 6.0)]
    )
    start, end = window_of(visit, 0)
    inside, _, _ = gaze_in(visit, start, end)
    assert (start, end) == (3.0, 6.0)
    assert np.isclose(inside.min(), 3.0, atol=0.11) and np.isclose(inside.max(), 6.0, atol=0.11)


def test_gaze_that_is_lost_or_off_the_image_counts_for_nothing():
    visit = phantom_visit(1)
    lost = replace(visit, x=np.full(len(visit.x), np.nan))
    off = replace(visit, x=visit.x + 10_000)
    for blind in (lost, off):
        assert clusters_of(blind, 0) == []
        assert gtm.examples(blind) == [] and fvp.examples(blind) == []
        assert len(report.examples(blind)) == 1


def test_fixations_recover_a_signal_of_known_steps():
    rng = np.random.default_rng(0)
    t = np.arange(0, 1.2, 0.01)
    x = np.where(t < 0.4, 100.0, np.where(t < 0.8, 300.0, 500.0)) + rng.normal(0, 2, len(t))
    found = fixations(t, x, np.full(len(t), 50.0), 40.0, 40.0)
    assert np.allclose([p.x for p in found], [100, 300, 500], atol=3)
    assert np.allclose([p.duration_ms for p in found], 390, atol=15)


@given(st.integers(1, 6), examples=6)
def test_condensing_keeps_the_dwell_and_at_most_the_points_asked_for(most):
    visit = phantom_visit(4)
    points = fixations(visit.t_s, visit.x, visit.y, visit.ppd_x, visit.ppd_y)
    few = condense(points, most)
    assert len(few) == min(most, len(points))
    assert np.isclose(sum(p.duration_ms for p in few), sum(p.duration_ms for p in points))


def test_heat_is_drawn_for_findings_that_were_said_and_unknown_where_they_were_not():
    visit = phantom_visit(3)
    finding = next(iter(visit.labels))
    target, known = heat_target(visit, [finding, "Edema"], (16, 16), 0.06)
    assert target[0].max() > 0.95 and target[1].max() == 0 and known.tolist() == [1, 1]
    mute = replace(visit, sentences=[("No edema.", 1.0, 2.0)])
    target, known = heat_target(mute, [finding, "Edema"], (16, 16), 0.06)
    assert target.max() == 0 and known.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("sentence", "finding", "mention"),
    [
        ("There is a small left apical pneumothorax.", "Pneumothorax", "positive"),
        ("No pneumothorax or pleural effusion.", "Pleural Effusion", "negative"),
        ("Pneumothorax has resolved.", "Pneumothorax", "negative"),
        ("The heart size is normal.", "Cardiomegaly", "negative"),
        ("The cardiac silhouette is enlarged.", "Cardiomegaly", "positive"),
        ("Possible pneumonia.", "Pneumonia", "uncertain"),
        ("The costophrenic angles are sharp.", "Pleural Effusion", "negative"),
        ("No pneumothorax, but there is a right effusion.", "Pleural Effusion", "positive"),
    ],
)
def test_sentences_are_labelled_as_a_radiologist_means_them(sentence, finding, mention):
    assert label_sentence(sentence)[finding] == mention


@pytest.mark.parametrize(
    ("sentence", "side"),
    [
        ("Left effusion.", "left"),
        ("On the right side.", "right"),
        ("Bilateral effusions.", "bilateral"),
        ("Left and right.", "bilateral"),
        ("An upright film.", ""),
    ],
)
def test_sides_are_whole_words(sentence, side):
    assert side_of(sentence) == side
