"""Held-out measures are right on answers that are known, and the ablation sums up what its runs left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gazex.findings import PHANTOM_FINDINGS
from gazex.model.processor import conspicuity, dots
from gazex.tasks.formats import parse_located
from gazex.train import ablation as module
from gazex.train import heldout
from gazex.train.ablation import ARMS, OTHER_READER, Plan, ablation, table
from gazex.train.ablation import _name as run_name
from gazex.train.ablation import _run as run_one
from gazex.train.data import PhantomRecords, coarse
from gazex.train.heldout import HeldOut, f1
from gazex.train.stages import OBJECTIVES, small_stages
from gazex.train.trainer import TrainError, train


@pytest.fixture(scope="module")
def network(small):
    return small.network


@pytest.fixture(scope="module")
def held(network) -> HeldOut:
    return HeldOut(network.processor, cases=12)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Lets a test say what the network answers to each image (or film) of a call, in order."""

    def say(texts: list[str]) -> None:
        left = list(texts)
        monkeypatch.setattr(heldout, "generate", lambda network, images, *a, **k: [left.pop(0) for _ in images])

    return say


def test_f1_counts_a_finding_on_the_wrong_side_as_missed_and_as_extra():
    truth = [{"Pneumothorax": "left"}, {}, {"Cardiomegaly": ""}]
    assert f1(truth, truth) == 1.0
    assert f1(truth, [{"Pneumothorax": "right"}, {}, {"Cardiomegaly": ""}]) == pytest.approx(0.5)
    assert f1([{}], [{}]) is None


def test_the_readers_own_answers_score_full_marks(network, held, answers):
    answers(["\n".join(_plain(case.labels)) for case in held.cases])
    reports = held.report(network)
    assert reports["f1"] == 1.0 and reports["f1_chance"] < 0.5 and reports["right"] == [1.0] * 12
    answers([case.record.examples["gtm"][0].target for case in held.cases])
    gaze = held.trajectories(network)
    assert gaze["similarity"] > 0.8 > gaze["similarity_chance"] + 0.2 and gaze["invalid"] == 0
    located = [e.target for case in held.cases for e in case.record.examples["fvp"]]
    answers(located)
    boxes = held.boxes(network)
    assert boxes["iou"] == pytest.approx(1.0) and boxes["iou_mean_box"] < 0.9 and len(boxes["each"]) == len(located)
    films = held._films()
    answers([held.cases[k].record.examples["sda"][0].target for ks in films.values() for k in ks])
    order = held.order(network)
    assert order["placed"] == 1.0 and order["pairs"] == 1.0 and order["placed_chance"] < 0.5


def test_answers_that_do_not_parse_score_nothing(network, held, answers):
    n = len(held.cases)
    answers(["<"] * n)
    assert held.report(network)["invalid"] == n
    answers(["<"] * n)
    assert held.trajectories(network)["similarity"] == 0.0
    answers(["<"] * n)
    assert held.order(network)["placed"] == 0.0


def test_pairs_fall_with_an_order_turned_round(network, held, answers):
    films = held._films()
    turned = []
    for ks in films.values():
        for k in ks:
            numbers = held.cases[k].record.examples["sda"][0].target.removeprefix("<seq>").removesuffix("</seq>")
            turned.append(f"<seq>{','.join(reversed(numbers.split(',')))}</seq>")
    answers(turned)
    assert held.order(network)["pairs"] == 0.0


def test_corners_are_rounded_points_and_dwell_times_more_so_and_words_are_not():
    target = "<clues>(333,996,1234)(8,22,40)(1,2,99999)</clues>12 mm (1,2"
    assert coarse(target, 20) == "<clues>(320,1000,1500)(0,40,100)(0,0,10000)</clues>12 mm (1,2"
    assert coarse("(333,996),(350,1000)", 20) == "(340,1000),(360,1000)"
    assert coarse(target, 1) == target


def test_key_frames_are_dark_except_about_their_box(network):
    image = np.ones(network.config.image_size, np.float32)
    patches, grid = network.processor.key_frames(image, [(0.0, 0.0, 0.3, 0.3), (0.6, 0.6, 1.0, 1.0)])
    assert grid[0] == 2 and len(patches) == grid[0] * grid[1] * grid[2]
    gray = patches.reshape(2, -1, 3, 2, 10, 10)[:, :, 0, 0].mean((2, 3))
    assert gray[0, 0] > gray[0, -1] + 1 and gray[1, -1] > gray[1, 0] + 1


def test_the_processor_shows_detail_dots_and_place_beside_the_gray_value(network):
    image = np.linspace(0, 1, 140, dtype=np.float32)[None].repeat(140, 0)
    image[70, 25] += 0.1
    patches = network.processor.patchify([image])[0].reshape(7, 7, 2, 2, 3, 2, 10, 10)
    along_x, along_y = patches[:, :, :, :, 2, 0], patches[:, :, :, :, 2, 1]
    assert along_x[0, -1].mean() > along_x[0, 0].mean() + 1 and torch.equal(along_x[0], along_x[-1])
    assert along_y[-1, 0].mean() > along_y[0, 0].mean() + 1 and torch.equal(along_y[:, 0], along_y[:, -1])
    detail = patches[:, :, :, :, 1]
    assert detail.abs().max() <= 3 and detail[3, 1].max() > 1  # a spot that the gray value hardly shows
    spots = patches[:, :, :, :, 0, 1]
    assert spots[3, 1].max() > 0.2 and spots[0].max() < 0.01


@pytest.mark.parametrize("turned", [False, True])
def test_a_dot_stays_and_a_line_an_edge_and_a_slope_go(turned: bool):
    y, x = np.mgrid[:60, :60].astype(np.float32)
    slope, line, edge = x / 60, (abs(y - 20) < 3).astype(np.float32), (x > 45).astype(np.float32)
    dot = ((x - 30) ** 2 + (y - 40) ** 2 < 9).astype(np.float32)
    left = dots((slope + line + edge + dot).T if turned else slope + line + edge + dot, 9)
    left = left.T if turned else left
    assert left[40, 30] > 0.8 and left[dot == 0].max() < 0.01


def test_a_dot_is_as_conspicuous_wherever_it_lies():
    peaks = []
    for row, column in ((50, 50), (53, 57), (60, 50)):
        image = np.full((140, 140), 0.4, np.float32)
        image[row - 1 : row + 2, column - 1 : column + 2] += 0.2
        found = conspicuity(image)
        peaks.append(found[row, column])
        assert found[row + 4, column] > 0.3 * found[row, column] > 20 * found[10, 10]
    assert max(peaks) - min(peaks) < 1e-4


def test_an_objective_that_is_none_is_refused_and_the_report_cannot_be_left_out():
    alone = small_stages(without=OBJECTIVES, steps=10)
    assert [s.heat for s in alone] == [0, 0] and "report" in alone[1].tasks
    assert sum(s.steps for s in alone) == sum(s.steps for s in small_stages(steps=10)) == 10
    for call in (lambda: small_stages(without=["report"]), lambda: small_stages(steps=1)):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
            call()


def test_edges_of_the_heat_are_measured_against_the_readers_own_boxes(network, monkeypatch):
    few = HeldOut(network.processor, cases=8)
    wide = iter([
        {one.finding: ((one.box[0] / 1000 - 0.1, *(v / 1000 for v in one.box[1:])), 0.9) for one in located}
        for case in few.cases
        if (located := [parse_located(example.target) for example in case.record.examples["fvp"]])
    ])  # fmt: skip
    monkeypatch.setattr(network, "heat_edges", lambda images: [next(wide)])
    found = few.heat_edges(network)
    assert found["boxes"] == sum(len(case.record.examples["fvp"]) for case in few.cases) > 0
    assert found["bias"] == pytest.approx([-0.1, 0, 0, 0]) and found["distance"] == pytest.approx([0.1, 0, 0, 0])
    assert 0 < found["iou"] < 1


def test_an_arm_is_trained_at_its_rate_and_measured_and_leaves_one_file(network, tmp_path: Path, monkeypatch):
    rates = []

    def watched(network, source, stages, *rest, **options):
        rates.extend(stage.lr for stage in stages)
        return train(network, source, stages, *rest, **options)

    monkeypatch.setattr(module, "train", watched)
    records = PhantomRecords(network.processor, PHANTOM_FINDINGS)
    few = dict.fromkeys(("validation", "cases", "reader"), HeldOut(network.processor, cases=8, habit=OTHER_READER))
    line = run_one((("report only", "equal steps", 1, 0.25), 2, records, few, Plan(steps=2, pool=4, cases=8), tmp_path))
    assert line.startswith("report only, equal steps, seed 1, rate 0.25: 2 steps")
    assert [p.name for p in tmp_path.iterdir()] == ["report-only-equal-steps-1-rate-0.25.json"]
    row = json.loads((tmp_path / "report-only-equal-steps-1-rate-0.25.json").read_text())
    assert len(row["cases"]["report"]["right"]) == 8 and row["cpu_s"] > 0
    assert rates == [0.25 * stage.lr for stage in small_stages(without=OBJECTIVES, steps=2)]


def test_an_arm_is_tuned_by_its_first_seed_and_its_other_seeds_learn_at_that_rate(tmp_path: Path, monkeypatch):
    made = []

    def run(work) -> str:
        job, steps, *_, runs = work
        made.append((*job, steps))
        arm, *_, rate = job
        f1 = 1 - rate / 2 if arm == "report only" else rate / 2  # best at a quarter, and at the whole
        report = {"f1": f1, "f1_chance": 0.1, "right": [f1] * 8}
        row = {"steps": steps, "cpu_s": 20.0 if arm == "all" else 10.0, "validation_f1": f1}
        row |= {"cases": {"report": report}, "reader": {}}
        (runs / run_name(job)).write_text(json.dumps(row))
        return arm

    monkeypatch.setattr(module, "_run", run)
    plan = Plan(steps=4, pool=4, cases=8, seeds=(1, 2), without=("fvp", "gtm", "sda"), processes=1)
    ablation(tmp_path, plan)
    asked = [job[1:] for job in made if job[0] == "report only"]
    assert [job for job in asked if job[0] == "equal steps"] == [
        ("equal steps", 1, 0.25, 4), ("equal steps", 1, 1.0, 4), ("equal steps", 2, 0.25, 4)
    ]  # fmt: skip
    assert [job for job in asked if job[0] == "equal compute"] == [
        ("equal compute", 1, 0.25, 8), ("equal compute", 2, 0.25, 8)
    ]  # fmt: skip
    assert {job[3] for job in made if job[0] == "+ heat" and job[2] == 2} == {1.0}


def test_finished_runs_are_summed_up_at_each_arms_best_rate_and_not_made_again(tmp_path: Path):
    pytest.importorskip("analysis.stats.nonparametric")
    plan = Plan(steps=300, cases=20, seeds=(1, 2))
    best = {"report only": 0.25}  # every other arm learns best at 1
    (tmp_path / "runs").mkdir()
    rng = np.random.default_rng(0)
    for k, (arm, objectives) in enumerate(ARMS.items()):
        for budget in plan.budgets:
            for seed in plan.seeds:
                right = np.clip(0.5 + 0.05 * k + rng.normal(0, 0.05, 20), 0, 1).tolist()
                score = {"similarity": 0.8, "similarity_chance": 0.5, "iou": 0.6, "iou_mean_box": 0.4}
                score |= {"placed": 0.5, "placed_chance": 0.2}
                measured = {
                    t: score for o, t in (("gtm", "gaze"), ("fvp", "boxes"), ("sda", "order")) if o in objectives
                }
                row = {
                    "arm": arm,
                    "steps": 300,
                    "cpu_s": 10.0 + k,
                    "cases": {"report": {"f1": 0.5 + k / 20, "f1_chance": 0.2, "right": right}, **measured},
                    "reader": measured,
                    "validation_f1": 0.6,
                }
                rate = best.get(arm, 1.0)
                (tmp_path / "runs" / run_name((arm, budget, seed, rate))).write_text(json.dumps(row))
                if budget == "equal steps" and seed == 1:
                    report = {"f1": 0.0, "f1_chance": 0.2, "right": [0.0] * 20}  # which must not be summed up
                    worse = {**row, "validation_f1": None if arm == "all" else 0.5, "cases": {"report": report}}
                    (tmp_path / "runs" / run_name((arm, budget, seed, 1.25 - rate))).write_text(json.dumps(worse))
    result = ablation(tmp_path, plan)
    rows = {(r["budget"], r["arm"]): r for r in result["rows"]}
    assert len(rows) == 12 and rows["equal steps", "all"]["signed_rank_p"] < 0.001
    assert rows["equal steps", "report only"]["signed_rank_p"] is None
    assert {r["arm"] for r in result["rows"] if r["rate"] == 0.25} == {"report only"}
    assert [rows["equal steps", arm]["f1_by_seed"] for arm in ARMS] == [[0.5 + k / 20] * 2 for k in range(6)]
    assert rows["equal steps", "+ GTM"]["reader_similarity"] == 0.8
    assert "cases_iou" not in rows["equal steps", "+ heat"]
    assert {p.name for p in tmp_path.glob("*.svg")} == {"report_f1.svg", "gaze_tasks.svg"}
    assert len(table(result).splitlines()) == 13 and (tmp_path / "table.csv").read_text().count("\n") == 13
    with pytest.raises(TrainError, match="another size"):
        ablation(tmp_path, Plan(steps=299, cases=20, seeds=(1, 2)))


def test_an_ablation_of_no_size_is_refused():
    for sizes in (
        {"steps": 1},
        {"cases": 2},
        {"seeds": ()},
        {"without": ("report",)},
        {"rates": (0.0,)},
        {"rates": (1, 1)},
        {"seeds": (1, 1)},
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
            Plan(**sizes)
    assert list(Plan(without=("sda", "gtm")).arms) == ["report only", "+ heat", "+ FVP", "all"]


def _plain(labels: dict[str, str]) -> list[str]:
    from capture.gaze.simulate.reader import PROTOCOL, phrase

    return [phrase(f, labels.get(f, ""), present=f in labels) for f, _ in PROTOCOL]
