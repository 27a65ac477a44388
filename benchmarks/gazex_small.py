"""The small GazeX from nothing, with gaze and without: reports, boxes, gaze, order; three seeds; learning curves.

    .venv/bin/python benchmarks/gazex_small.py --out DIR [--seeds 1 2 3] [--cases N] [--steps N]
        [--pool N] [--curve N] [--rates R [R …]] [--long K]

For each seed, trains all objectives (`train_small`, as `python -m gazex train-small` does) and the report alone, for
the same number of steps, on the same phantoms (`--pool`) in the same order, and measures both on the frozen test
series. The report alone is tuned: its learning rate is the one of `--rates` (multiples of the schedule's) with the best
F1 on the validation series, first seed. Both learning curves are drawn on the validation series every `--curve` steps;
with `--long K` both are trained K times as long too, all objectives with the first seed and the report alone with the
first two, to see where each saturates. Each run leaves a file in DIR and is not made again; drawing the phantoms is
timed apart, training by the wall. All objectives are trained in two processes, the reports alone side by side, in one
process each.

Targets: F1 (finding and side) ≥ .90 and ≥ .20 above the report alone; boxes ≥ mean box + .10; gaze ≥ chance + .20;
order above chance with p < .01; each run within 10 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from analysis.stats.nonparametric import signed_rank
from gazex.evaluate import evaluate
from gazex.infer import GazeX
from gazex.model.network import GazeXNetwork, build_small, load_network
from gazex.phantoms import TEST_SEED, VALIDATION_SEED
from gazex.train.ablation import Plan
from gazex.train.data import PhantomRecords
from gazex.train.heldout import HeldOut
from gazex.train.runs import PROCESSES, SMALL_POOL, SMALL_STEPS, small_tokenizer, train_small
from gazex.train.stages import OBJECTIVES, small_stages
from gazex.train.trainer import TrainError

Job = tuple[str, int, float, float]
"""What is trained ("all" or "report"), seed, multiple of the learning rate, multiple of the steps."""


def name_of(job: Job) -> str:
    kind, seed, rate, longer = job
    return f"{kind}-seed-{seed}-rate-{rate:g}-times-{longer:g}"


class Bench:
    """Runs, each kept in `out`; phantoms are drawn when the first run needs them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.out, self.options = Path(options.out), options
        self.records: PhantomRecords | None = None

    def do(self, jobs: list[Job]) -> list[dict[str, Any]]:
        """Every job's row, from its file where it was made before."""
        todo = [job for job in jobs if not self._file(job).is_file()]
        if todo and self.records is None:
            network = build_small(small_tokenizer(), seed=0)
            self.records = PhantomRecords(network.processor, network.config.heat_findings)
            since = time.monotonic()
            self.records.prepare(self.options.pool, processes=PROCESSES)
            print(f"{self.options.pool} phantoms drawn in {time.monotonic() - since:.0f} s", flush=True)
            cases = self.options.cases
            self.validation = HeldOut(network.processor, cases=cases, seed=VALIDATION_SEED)
            self.test = HeldOut(network.processor, cases=cases, seed=TEST_SEED)
        alone = [job for job in todo if job[0] == "report"]
        for job in todo:
            if job not in alone:
                self.run(job)
        if alone:
            with get_context("fork").Pool(PROCESSES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                pool.map(self.run, alone, chunksize=1)
        return [json.loads(self._file(job).read_text(encoding="utf-8")) for job in jobs]

    def _file(self, job: Job) -> Path:
        return self.out / f"{self._name(job)}.json"

    def _name(self, job: Job) -> str:
        return f"{name_of(job)}-of-{self.options.steps}-from-{self.options.pool}-on-{self.options.cases}"

    def run(self, job: Job) -> None:
        """One training with its curve and its test figures."""
        kind, seed, rate, longer = job
        without = () if kind == "all" else OBJECTIVES
        steps = round(self.options.steps * longer)
        stages = [replace(s, lr=s.lr * rate) for s in small_stages(without=without, steps=steps)]
        if kind == "report":  # every image brings its report, at every step
            stages = [replace(s, tasks={"report": 1.0}, weights={}) for s in stages]
        points = self._file(job).with_suffix(".curve.jsonl")  # kept, should the run be killed

        def watch(step: int, network: GazeXNetwork) -> None:
            if step % self.options.curve == 0 or step == steps:
                with points.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, "f1": self.validation.report(network)["f1"]}) + "\n")

        folder = self.out / self._name(job)
        train_small(
            folder, seed=seed, without=without, steps=steps, stages=stages, records=self.records, watch=watch,
            pool=self.options.pool, measured=kind == "all", processes=PROCESSES if kind == "all" else 1,
        )  # fmt: skip
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        network, test = load_network(folder), self.test
        curve = [json.loads(line) for line in points.read_text(encoding="utf-8").splitlines()]
        row: dict[str, Any] = {"name": name_of(job), "seed": seed, "steps": steps, "rate": rate, "curve": curve}
        row |= {k: card[k] for k in ("training_s", "training_cpu_s", "processes")}
        row |= {"validation_f1": curve[-1]["f1"], "test": {"report": test.report(network)}}
        if kind == "all":
            row["test"] |= {
                "gaze": test.trajectories(network),
                "gaze_text_alone": test.trajectories(network, weighed=False),
                "text_boxes": test.boxes(network),
                "text_boxes_alone": test.boxes(network, weighed=False),
                "heat_edges": self.validation.heat_edges(network),
                "order": test.order(network),
                "heat": test.heat(network),
            }
            whole = evaluate(GazeX.load(folder), cases=self.options.cases)
            row["evaluate"] = {k: whole[k] for k in ("report", "findings", "boxes", "gaze", "parse_failures")}
        temporary = self._file(job).with_suffix(".part")
        temporary.write_text(json.dumps(row, indent=1), encoding="utf-8")
        temporary.replace(self._file(job))
        print(f"{name_of(job)}: {row['training_s']} s, F1 {row['test']['report']['f1']:.3f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--steps", type=int, default=SMALL_STEPS)
    parser.add_argument("--pool", type=int, default=SMALL_POOL, help="phantoms trained on")
    parser.add_argument("--curve", type=int, default=400, help="steps between two points of the learning curve")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0])
    parser.add_argument("--long", type=float, default=2.0, help="times the steps, to see where both saturate; 0: no")
    options = parser.parse_args()
    if options.cases < 8 or min(options.steps, options.curve, options.pool) < 2:
        parser.error("give at least 8 cases, 2 phantoms, 2 steps and 2 steps between points")
    if not 0 <= options.long <= 100:
        parser.error("train up to 100 times as long")
    try:
        Plan(seeds=tuple(options.seeds), rates=tuple(options.rates))  # refuses what is tried twice, or at no rate
    except TrainError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    bench, first = Bench(options), options.seeds[0]
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, ", end="")
    print(f"{datetime.now(UTC).date()}, load {os.getloadavg()[0]:.1f}", flush=True)
    jobs = [("all", seed, 1.0, 1.0) for seed in options.seeds]
    rows = bench.do([*jobs, *(("report", first, rate, 1.0) for rate in options.rates)])
    whole, tuned = rows[: len(jobs)], rows[len(jobs) :]
    rate = max(tuned, key=lambda row: row["validation_f1"])["rate"]
    print(
        "report alone, validation F1 by rate: " + ", ".join(f"{r['rate']:g}: {r['validation_f1']:.3f}" for r in tuned)
    )
    alone = bench.do([("report", seed, rate, 1.0) for seed in options.seeds])
    more: list[Job] = []
    if options.long:
        more = [("report", seed, rate, options.long) for seed in options.seeds[:2]]
        more.append(("all", first, 1.0, options.long))
    longer = bench.do(more)
    print(
        "seed  steps  seconds all  report  F1 all  report (chance)   boxes: heat, text (mean box of each)   "
        "gaze (chance)   order (chance), p"
    )
    for full, plain in zip(whole, alone, strict=True):
        test, boxes, gaze = full["test"], full["evaluate"]["boxes"], full["evaluate"]["gaze"]
        text, order = test["text_boxes"], test["order"]
        p = signed_rank(np.array(order["each"]), np.array(order["each_chance"])).p
        print(
            f"{full['seed']:>4} {full['steps']:>6} {full['training_s']:>10.0f} {plain['training_s']:>7.0f}"
            f"   {test['report']['f1']:.3f}   {plain['test']['report']['f1']:.3f} ({test['report']['f1_chance']:.3f})"
            f"   {boxes['iou']:.3f} ({boxes['iou_mean_box']:.3f}), {text['iou']:.3f} ({text['iou_mean_box']:.3f})"
            f"   {gaze['similarity']:.3f} ({gaze['similarity_chance']:.3f})"
            f"   {order['placed']:.3f} ({order['placed_chance']:.3f}), {p:.2g}"
        )
    once = {row["name"]: row for row in [*whole, *tuned, *alone, *longer]}
    for row in once.values():
        print(f"{row['name']}, validation F1: " + ", ".join(f"{c['step']}: {c['f1']:.2f}" for c in row["curve"]))
    for row in whole:
        test, edges = row["test"], row["test"]["heat_edges"]
        bias, distance = (", ".join(f"{v:.3f}" for v in edges[k]) for k in ("bias", "distance"))
        print(
            f"{row['name']}, text alone: boxes {test['text_boxes_alone']['iou']:.3f}, "
            f"gaze {test['gaze_text_alone']['similarity']:.3f}; edges of the heat, validation: IoU {edges['iou']:.3f}, "
            f"off by {bias}, at a distance of {distance} ({edges['boxes']} boxes)"
        )
    for row in longer:
        f1, cost = row["test"]["report"]["f1"], row["training_s"]
        print(f"{row['name']}: test F1 {f1:.3f} after {row['steps']} steps, {cost:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
