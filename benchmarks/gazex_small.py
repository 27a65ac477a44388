"""The small GazeX from nothing, with gaze and without: reports, boxes, gaze, order; three seeds; learning curves.

    .venv/bin/python benchmarks/gazex_small.py --out DIR [--seeds 1 2 3] [--cases N] [--steps N]
        [--curve N] [--rates R [R …]] [--long K]

For each seed, trains all objectives and the report alone, for the same number of steps, on the same phantoms in the
same order, and measures both on the frozen test series. The report alone is tuned first: its learning
rate is the one of `--rates` (multiples of the schedule's) with the best F1 on the validation series, seed 1. Both
learning curves are drawn on the validation series every `--curve` steps; with `--long K` the report alone is trained K
times as long too (seed 1), to see where it saturates. Every run leaves a file in DIR and is not made again.

Targets: F1 (finding and side) ≥ .90 and ≥ .20 above the report alone; boxes ≥ mean box + .10; gaze ≥ chance + .20;
order above chance with p < .01.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from scipy.stats import wilcoxon

from gazex.calibration import calibrate
from gazex.evaluate import evaluate
from gazex.infer import GazeX
from gazex.model.network import build_small
from gazex.phantoms import TEST_SEED, VALIDATION_SEED
from gazex.train.data import PhantomRecords
from gazex.train.heldout import HeldOut
from gazex.train.runs import SMALL_POOL, PhantomSource, small_tokenizer
from gazex.train.stages import OBJECTIVES, small_stages
from gazex.train.trainer import train


class Bench:
    """Runs, each kept in a file of `out`; phantoms are drawn when the first run needs them."""

    def __init__(self, out: Path, options: argparse.Namespace) -> None:
        self.out, self.options = out, options
        self.tokenizer = small_tokenizer()
        self.processor = build_small(self.tokenizer, seed=0).processor
        self._records: PhantomRecords | None = None
        self._held: dict[str, HeldOut] = {}

    @property
    def records(self) -> PhantomRecords:
        if self._records is None:
            self._records = PhantomRecords(self.processor, build_small(self.tokenizer, seed=0).config.heat_findings)
            self._records.prepare(SMALL_POOL, processes=torch.get_num_threads())
        return self._records

    def held(self, name: str) -> HeldOut:
        if name not in self._held:
            cases = self.options.cases
            series = TEST_SEED if name == "test" else VALIDATION_SEED
            self._held[name] = HeldOut(self.processor, cases=cases, seed=series)
        return self._held[name]

    def run(
        self, name: str, *, without: tuple[str, ...], seed: int, rate: float = 1.0, longer: float = 1.0
    ) -> dict[str, Any]:
        """One training with its curve and its test figures, from the file where it was made before."""
        path = self.out / f"{name}.json"
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        steps = round(self.options.steps * longer)
        stages = [replace(s, lr=s.lr * rate) for s in small_stages(without=without, steps=steps)]
        network = build_small(self.tokenizer, seed=seed)
        records, valid = self.records, self.held("validation")
        curve: list[dict[str, float]] = []
        aside = [0.0, 0.0]
        started, cpu = time.monotonic(), time.process_time()

        def watch(step: int) -> None:
            if step % self.options.curve and step != sum(s.steps for s in stages):
                return
            since, used = time.monotonic(), time.process_time()
            curve.append({"step": step, "cpu_s": round(used - cpu - aside[1], 1), "f1": valid.report(network)["f1"]})
            aside[0] += time.monotonic() - since
            aside[1] += time.process_time() - used

        train(
            network, PhantomSource(records, SMALL_POOL), stages, self.out / name, seed=seed, resume=True, muon=True,
            after_step=watch,
        )  # fmt: skip
        row: dict[str, Any] = {
            "name": name,
            "seed": seed,
            "steps": steps,
            "rate": rate,
            "wall_s": round(time.monotonic() - started - aside[0], 1),
            "cpu_s": round(time.process_time() - cpu - aside[1], 1),
            "validation_f1": curve[-1]["f1"],
            "curve": curve,
            "test": {"report": self.held("test").report(network)},
        }
        if not without:
            test = self.held("test")
            row["test"] |= {
                "gaze": test.trajectories(network),
                "text_boxes": test.boxes(network),
                "order": test.order(network),
                "heat": test.heat(network),
            }
            calibration = calibrate(network, cases=200)
            whole = evaluate(GazeX(network, calibration, name), cases=self.options.cases)
            row["evaluate"] = {k: whole[k] for k in ("report", "boxes", "gaze", "probability", "parse_failures")}
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(row, indent=1), encoding="utf-8")
        temporary.replace(path)
        return row


def above_chance(values: list[float], chance: list[float]) -> float:
    """One-sided signed-rank p of values above their chance, paired over cases."""
    return float(wilcoxon(np.array(values) - np.array(chance), alternative="greater").pvalue)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--steps", type=int, default=small_stages()[0].steps + small_stages()[1].steps)
    parser.add_argument("--curve", type=int, default=200, help="steps between two points of the learning curve")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--long", type=float, default=3.0, help="times the steps for the report alone; 0: no")
    options = parser.parse_args()
    if options.cases < 8 or options.steps < 2 or options.curve < 1:
        parser.error("give at least 8 cases, 2 steps and 1 step between points")
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.out, options)
    first = options.seeds[0]
    tuned = {
        r: bench.run(f"report-rate-{r}-seed-{first}", without=OBJECTIVES, seed=first, rate=r) for r in options.rates
    }
    rate = max(tuned, key=lambda r: tuned[r]["validation_f1"])
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads, {datetime.now(UTC).date()}, load {os.getloadavg()[0]:.1f}")
    print("report alone, F1 by rate: " + ", ".join(f"{r}: {t['validation_f1']:.3f}" for r, t in tuned.items()))
    print(
        "seed  steps  CPU-s all  report   F1 all  F1 report  (chance)  "
        "boxes heat, text (mean box)  gaze (chance)  order (chance) p"
    )
    for seed in options.seeds:
        full = bench.run(f"all-seed-{seed}", without=(), seed=seed)
        alone = bench.run(f"report-rate-{rate}-seed-{seed}", without=OBJECTIVES, seed=seed, rate=rate)
        t, e, gaze = full["test"], full["evaluate"], full["test"]["gaze"]
        p = above_chance(t["order"]["each"], t["order"]["each_chance"])
        print(
            f"{seed:>4} {full['steps']:>6} {full['cpu_s']:>10.0f} {alone['cpu_s']:>7.0f}   "
            f"{t['report']['f1']:.3f}      "
            f"{alone['test']['report']['f1']:.3f}    ({t['report']['f1_chance']:.2f})    "
            f"{e['boxes']['iou']:.3f} ({e['boxes']['iou_mean_box']:.3f}), {t['text_boxes']['iou']:.3f} "
            f"({t['text_boxes']['iou_mean_box']:.3f})  {gaze['similarity']:.3f} ({gaze['similarity_chance']:.3f})"
            f"  {t['order']['placed']:.3f} ({t['order']['placed_chance']:.2f}) {p:.2g}"
        )
        for row in (full, alone):
            print("      " + row["name"] + ": " + ", ".join(f"{c['step']}: {c['f1']:.2f}" for c in row["curve"]))
    if options.long:
        name = f"report-long-{options.long}-rate-{rate}-seed-{first}"
        long = bench.run(name, without=OBJECTIVES, seed=first, rate=rate, longer=options.long)
        print("      " + name + ": " + ", ".join(f"{c['step']}: {c['f1']:.2f}" for c in long["curve"]))
        print(
            f"      test F1 {long['test']['report']['f1']:.3f} after {long['steps']} steps, {long['cpu_s']:.0f} CPU-s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
