"""What each objective adds: the paper's ablation in small, on phantoms with simulated readers.

Every arm trains the same network from the same random weights on the same readings in the same order, and answers the
same few yes-or-no questions. Each arm learns at the best of a few rates: the first seed tries them, and the one whose
reports have the best F1 on the validation series is kept. "Equal steps" gives each arm the same number of steps; "equal
compute" gives each as many as fit into the CPU seconds that all objectives together took. Held out are cases (the
frozen test series) and a reader (other habits; no training reading is by them).
"""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from capture.gaze.simulate.reader import Habit
from gazex.model.network import build_small
from gazex.phantoms import TEST_SEED, VALIDATION_SEED
from gazex.train.data import PhantomRecords
from gazex.train.heldout import HeldOut
from gazex.train.runs import PhantomSource, environment, small_tokenizer
from gazex.train.stages import OBJECTIVES, small_stages
from gazex.train.trainer import TrainError, train

log = logging.getLogger(__name__)
SCHEMA: Final = "gazeroom.ablation/1"
ARMS: Final[dict[str, tuple[str, ...]]] = {
    "report only": (),
    "+ heat": ("heat",),
    "+ FVP": ("fvp",),
    "+ GTM": ("gtm",),
    "+ SDA": ("sda",),
    "all": ("heat", "fvp", "gtm", "sda"),
}
"""Arm → objectives beside the report."""
OTHER_READER: Final = Habit(focus=0.65, tempo_s=0.29, left_first=True, dwell=3.0)
"""The held-out reader: fixates longer, strays more from a finding, and begins on the other side."""
FIRST: Final = 0.75
"""Share of the first stage: in under 300 steps of it no arm learns to report, though the heat is learnt by then."""
BUDGETS: Final = ("equal steps", "equal compute")
Job = tuple[str, str, int, float]
"""Arm, budget, seed, multiple of the schedule's learning rate."""


@dataclass(frozen=True)
class Plan:
    """How large an ablation is: steps of each run, phantoms trained on, held-out cases, seeds, multiples of the
    learning rate that the first seed tries, processes at once."""

    steps: int = 400
    pool: int = 1000
    cases: int = 48
    seeds: tuple[int, ...] = (1, 2, 3)
    rates: tuple[float, ...] = (0.25, 1.0)
    without: tuple[str, ...] = ()
    budgets: tuple[str, ...] = BUDGETS
    processes: int = 2

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("pool", 1), ("cases", 8), ("processes", 1)):
            if getattr(self, name) < least:
                raise TrainError(f"An ablation needs at least {least} {name}; this one has {getattr(self, name)}.")
        if not self.seeds:
            raise TrainError("An ablation needs at least one seed.")
        if not self.rates or not all(0 < rate <= 100 for rate in self.rates):
            raise TrainError("An ablation needs at least one learning rate to try: a multiple above 0 and up to 100.")
        if len({*self.seeds}) < len(self.seeds) or len({*self.rates}) < len(self.rates):
            raise TrainError("Every seed and every learning rate of an ablation is to be named once.")
        small_stages(without=self.without, steps=self.steps)  # refuses what is no objective

    @property
    def arms(self) -> dict[str, tuple[str, ...]]:
        """Arm → objectives beside the report; an objective left out takes its own arm away."""
        left = {arm: tuple(o for o in objectives if o not in self.without) for arm, objectives in ARMS.items()}
        return {arm: o for arm, o in left.items() if o or not ARMS[arm]}

    def to_dict(self) -> dict[str, Any]:
        sizes = {"steps": self.steps, "pool": self.pool, "cases": self.cases, "seeds": list(self.seeds)}
        return {**sizes, "rates": list(self.rates), "without": list(self.without)}


def run(options: Any) -> str:
    """`python -m gazex ablation`: run it, log each run, and return the table."""
    given: dict[str, Any] = {f.name: getattr(options, f.name) for f in fields(Plan) if hasattr(options, f.name)}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    plan = Plan(**given)
    return table(ablation(options.out, plan))


def ablation(out: Path, plan: Plan | None = None) -> dict[str, Any]:
    """Run the ablation and write `table.csv`, `ablation.json` and two plots (SVG) to `out`.

    Parameters
    ----------
    out
        Folder; every finished run is kept in `out/runs`, so that the same call goes on after a kill.
    plan
        Its size; default `Plan()`.

    Raises
    ------
    TrainError
        `out` holds an ablation of another size.
    """
    plan = plan or Plan()
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    _same_plan(out, plan)
    network = build_small(small_tokenizer(), seed=0)
    findings = network.config.heat_findings
    first, *others = plan.seeds
    held: dict[str, HeldOut] = {}
    records = PhantomRecords(network.processor, findings)

    def do(wanted: list[Job], steps: dict[str, int]) -> None:
        todo = [job for job in wanted if not (runs / _name(job)).is_file()]
        if todo and not held:
            records.prepare(plan.pool, processes=plan.processes)
            held["validation"] = HeldOut(network.processor, cases=plan.cases, seed=VALIDATION_SEED)
            held["cases"] = HeldOut(network.processor, cases=plan.cases, seed=TEST_SEED)
            held["reader"] = HeldOut(network.processor, cases=plan.cases, seed=TEST_SEED, habit=OTHER_READER)
        work = [(job, steps[job[0]], records, held, plan, runs) for job in todo]
        if plan.processes == 1 or len(work) < 2:
            for one in work:
                log.info(_run(one))
            return
        with get_context("fork").Pool(plan.processes, initializer=_one_thread) as pool:
            for line in pool.imap_unordered(_run, work):
                log.info(line)

    equal = dict.fromkeys(plan.arms, plan.steps)
    do([(arm, "equal steps", first, rate) for arm in plan.arms for rate in plan.rates], equal)
    best = tuned(runs, plan)
    do([(arm, "equal steps", seed, best[arm]) for seed in others for arm in plan.arms], equal)
    if "equal compute" in plan.budgets:
        made = {arm: [_read(runs, (arm, "equal steps", seed, best[arm])) for seed in plan.seeds] for arm in plan.arms}
        cost = {arm: _mean([row["cpu_s"] for row in rows]) for arm, rows in made.items()}
        steps = {arm: max(1, round(plan.steps * cost["all"] / cost[arm])) for arm in plan.arms}
        do([(arm, "equal compute", seed, best[arm]) for seed in plan.seeds for arm in plan.arms if arm != "all"], steps)
    result = summarize(runs, plan)
    _write(out, result)
    return result


def tuned(runs: Path, plan: Plan) -> dict[str, float]:
    """Arm → the rate at which the first seed's reports were best on the validation series, at equal steps."""

    def of(arm: str, rate: float) -> float:
        return float(_read(runs, (arm, "equal steps", plan.seeds[0], rate))["validation_f1"] or 0.0)

    return {arm: max(plan.rates, key=lambda rate: of(arm, rate)) for arm in plan.arms}


def _run(work: tuple[Job, int, PhantomRecords, dict[str, HeldOut], Plan, Path]) -> str:
    job, steps, records, held, plan, runs = work
    arm, budget, seed, rate = job
    objectives = plan.arms[arm]
    network = build_small(records.processor.tokenizer, seed=seed, heat="heat" in objectives)
    started, cpu = time.monotonic(), time.process_time()
    folder = runs / _name(job).removesuffix(".json")
    stages = small_stages(without=[o for o in OBJECTIVES if o not in objectives], steps=steps, first=FIRST)
    state = train(
        network,
        PhantomSource(records, plan.pool),
        [replace(stage, lr=stage.lr * rate) for stage in stages],
        folder,
        seed=seed,
        resume=True,
        muon=True,
    )
    if not state.finished:
        raise TrainError(f"The run {arm}, {budget}, seed {seed} was stopped; the same command goes on with it.")
    row: dict[str, Any] = {
        "arm": arm,
        "budget": budget,
        "seed": seed,
        "rate": rate,
        "steps": steps,
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }
    row["validation_f1"] = held["validation"].report(network)["f1"]
    for name in ("cases", "reader"):
        cases = held[name]
        measured: dict[str, Any] = {}
        if name == "cases":
            measured["report"] = cases.report(network)
        if "heat" in objectives:
            measured["heat"] = cases.heat(network)
        if "gtm" in objectives:
            measured["gaze"] = cases.trajectories(network)
        if "fvp" in objectives:
            measured["boxes"] = cases.boxes(network)
        if "sda" in objectives:
            measured["order"] = cases.order(network)
        row[name] = measured
    target = runs / _name(job)
    temporary = target.with_suffix(".part")
    temporary.write_text(json.dumps(row), encoding="utf-8")
    temporary.replace(target)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    f1 = row["cases"]["report"]["f1"]
    return f"{arm}, {budget}, seed {seed}, rate {rate:g}: {steps} steps, {row['cpu_s']} CPU-s, F1 {f1:.3f}"


def summarize(runs: Path, plan: Plan) -> dict[str, Any]:
    """One row for each arm and budget: means over seeds, each beside its chance value, and the signed-rank test of the
    reports, paired over cases (a case's share of findings said rightly, mean over seeds) against the report alone."""
    from analysis.stats.nonparametric import signed_rank

    rows, best = [], tuned(runs, plan)
    for budget in plan.budgets:
        alone = None
        for arm in plan.arms:
            at = "equal steps" if arm == "all" else budget  # the others are given its compute
            made = [_read(runs, (arm, at, seed, best[arm])) for seed in plan.seeds]
            right = np.mean([m["cases"]["report"]["right"] for m in made], axis=0)
            alone = right if alone is None else alone
            test = signed_rank(right, alone) if arm != "report only" else None
            row: dict[str, Any] = {
                "arm": arm,
                "budget": budget,
                "rate": best[arm],
                "steps": made[0]["steps"],
                "cpu_s": _mean([m["cpu_s"] for m in made]),
                "f1": _mean([m["cases"]["report"]["f1"] for m in made]),
                "f1_by_seed": [m["cases"]["report"]["f1"] for m in made],
                "f1_chance": _mean([m["cases"]["report"]["f1_chance"] for m in made]),
                "right": float(right.mean()),
                "right_gain": float((right - alone).mean()),
                "signed_rank_p": test.p if test is not None else None,
            }
            for held in ("cases", "reader"):
                for task, figure, chance in FIGURES:
                    if task in made[0][held]:
                        row[f"{held}_{figure}"] = _mean([m[held][task][figure] for m in made])
                        row[f"{held}_{chance}"] = _mean([m[held][task][chance] for m in made])
            rows.append(row)
    return {"schema": SCHEMA, "plan": plan.to_dict(), "test_seed": TEST_SEED, "rows": rows, **environment()}


FIGURES: Final = (
    ("gaze", "similarity", "similarity_chance"),
    ("boxes", "iou", "iou_mean_box"),
    ("order", "placed", "placed_chance"),
)


def table(result: dict[str, Any]) -> str:
    """The rows as text, one line an arm and budget."""
    head = "budget         arm           rate  steps  CPU-s    F1 (chance)  gain in right      p  "
    lines = [head + " gaze (chance)  IoU (mean box)  order (chance)"]
    for r in result["rows"]:
        pairs = [f"{r[f'cases_{a}']:.2f} ({r[f'cases_{b}']:.2f})" if f"cases_{a}" in r else "–" for _, a, b in FIGURES]
        p = f"{r['signed_rank_p']:.2g}" if r["signed_rank_p"] is not None else "–"
        f1 = f"{r['f1']:.2f} ({r['f1_chance']:.2f})"
        lines.append(
            f"{r['budget']:<14} {r['arm']:<12} {r['rate']:>5g} {r['steps']:>6} {r['cpu_s']:>6.0f}  {f1}"
            f"  {r['right_gain']:>+12.3f}  {p:>7}  {pairs[0]:>13}  {pairs[1]:>14}  {pairs[2]:>14}"
        )
    return "\n".join(lines)


def _write(out: Path, result: dict[str, Any]) -> None:
    columns = list(dict.fromkeys(k for r in result["rows"] for k in r))
    temporary = out / "table.csv.part"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for r in result["rows"]:
            writer.writerow({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in r.items()})
    temporary.replace(out / "table.csv")
    _plot(out, result)
    temporary = out / "ablation.json.part"
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out / "ablation.json")


def _plot(out: Path, result: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    budgets = list(dict.fromkeys(r["budget"] for r in result["rows"]))
    figure, axes = plt.subplots(1, len(budgets), figsize=(4.5 * len(budgets), 3.4), sharey=True, squeeze=False)
    for axis, budget in zip(axes[0], budgets, strict=True):
        rows = [r for r in result["rows"] if r["budget"] == budget]
        for k, r in enumerate(rows):
            axis.bar(k, r["f1"], color="#4477aa", width=0.7)
            axis.plot([k] * len(r["f1_by_seed"]), r["f1_by_seed"], "o", color="black", markersize=3)
            axis.plot([k - 0.35, k + 0.35], [r["f1_chance"]] * 2, color="#cc3311")
        axis.set_xticks(range(len(rows)), [r["arm"] for r in rows], rotation=35, ha="right")
        axis.set_title(budget, fontsize=10)
    axes[0][0].set_ylabel("report F1, finding and side\n(dots: seeds; line: chance)")
    figure.tight_layout()
    figure.savefig(out / "report_f1.svg", metadata={"Date": None})
    plt.close(figure)
    figure, axes = plt.subplots(1, len(FIGURES), figsize=(10, 3.2), squeeze=False)
    for axis, (_, name, chance) in zip(axes[0], FIGURES, strict=True):
        rows = [r for r in result["rows"] if r["budget"] == "equal steps" and f"cases_{name}" in r]
        for k, r in enumerate(rows):
            for shift, held in ((-0.2, "cases"), (0.2, "reader")):
                axis.bar(k + shift, r[f"{held}_{name}"], 0.36, color="#4477aa" if held == "cases" else "#aabbcc")
                axis.plot([k + shift - 0.18, k + shift + 0.18], [r[f"{held}_{chance}"]] * 2, color="#cc3311")
        axis.set_xticks(range(len(rows)), [r["arm"] for r in rows])
        axis.set_title(name + " (dark: known reader, light: held-out reader)", fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "gaze_tasks.svg", metadata={"Date": None})
    plt.close(figure)


def _same_plan(out: Path, plan: Plan) -> None:
    path = out / "plan.json"
    text = json.dumps(plan.to_dict())
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise TrainError(f"{out} holds an ablation of another size; choose another folder.")
    path.write_text(text, encoding="utf-8")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _name(job: Job) -> str:
    arm, budget, seed, rate = job
    return f"{arm} {budget} {seed} rate {rate:g}.json".replace("+ ", "").replace(" ", "-").lower()


def _read(runs: Path, job: Job) -> dict[str, Any]:
    row: dict[str, Any] = json.loads((runs / _name(job)).read_text(encoding="utf-8"))
    return row


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
