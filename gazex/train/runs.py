"""The two ways a GazeX is trained: the small one from nothing, and any one further on real visits."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from gazex.calibration import calibrate
from gazex.findings import PHANTOM_FINDINGS
from gazex.model.config import small_config
from gazex.model.network import GazeXNetwork, build_small, load_network, weights_sha256
from gazex.model.tokenizer import train_tokenizer
from gazex.phantoms import TRAIN_SEED, make_phantom
from gazex.schema import read_visits
from gazex.tasks import fvp, gtm, report, sda, vqa
from gazex.tasks.finished import finish
from gazex.train.data import DWELLS_MS, PhantomRecords, Record, VisitRecords, simulated_visit
from gazex.train.stages import OBJECTIVES, Stage, retrain_stages, small_stages
from gazex.train.trainer import CHECKPOINT, Progress, RunState, TrainError, train

log = logging.getLogger(__name__)
REPLAY: Final = 0.4
"""Share of base phantoms in a retraining batch (30–50 % keeps few visits from wrecking what was learnt)."""
REPLAY_POOL: Final = 240
CORPUS_CASES: Final = 300
CARD_CASES: Final = 60
SMALL_STEPS: Final = 1100
SMALL_POOL: Final = 1600
PROCESSES: Final = 2
"""That train the small model together. Another number would give other weights."""


class PhantomSource:
    """The first `pool` phantoms of the training series, drawn at random."""

    def __init__(self, records: PhantomRecords, pool: int) -> None:
        self.records, self.pool = records, pool

    def draw(self, count: int, rng: np.random.Generator) -> list[Record]:
        return [self.records[int(i)] for i in rng.integers(self.pool, size=count)]


class ReplaySource:
    """Visits mixed with phantoms. With few visits more of a batch is replay: none is seen over twice a step."""

    def __init__(self, visits: VisitRecords, replay: PhantomSource, share: float = REPLAY) -> None:
        self.visits, self.replay, self.share = visits, replay, share

    def draw(self, count: int, rng: np.random.Generator) -> list[Record]:
        real = min(count - round(self.share * count), 2 * len(self.visits))
        chosen = [self.visits[int(i)] for i in rng.integers(len(self.visits), size=real)]
        return chosen + self.replay.draw(count - real, rng)


def small_tokenizer() -> Any:
    """Tokenizer of the small model, trained on prompts, targets and reports of the first training phantoms."""
    corpus: list[str] = [
        report.PROMPT,
        report.PROMPT_BOXES,
        gtm.PROMPT,
        *(vqa.prompt(f) for f in PHANTOM_FINDINGS),
    ] * 20
    for index in range(CORPUS_CASES):
        visit, _ = simulated_visit(make_phantom(TRAIN_SEED, index, (32, 32), draw=False), seed=TRAIN_SEED)
        finished = finish(visit)
        for example in (
            *report.examples(visit),
            *gtm.examples(visit),
            *fvp.examples(visit, finished=finished),
            *sda.examples(visit, seed=0, finished=finished)[:1],
        ):
            corpus += [example.prompt, re.sub(r"\d+", "0", example.target)]
    places, times = range(0, 1001, small_config().coordinate_step), DWELLS_MS
    return train_tokenizer(
        corpus,
        numbers=sorted({*places, *times}),
        # A point that was looked at, "(480,320,300)", is then three tokens instead of seven, and a box five.
        pieces=[
            *(f"({n}," for n in places),
            *(f"{n}," for n in places),
            *(f"{n})" for n in sorted({*places, *times})),
            *("<step n=", "><gaze>", "</gaze>", "</step>", "<clues>", "</clues>", "<seq>", "</seq>"),
        ],
    )


def train_small(
    out: Path,
    *,
    seed: int = 1,
    without: Collection[str] = (),
    steps: int = SMALL_STEPS,
    stages: Sequence[Stage] | None = None,
    pool: int = SMALL_POOL,
    calibration_cases: int = 200,
    records: PhantomRecords | None = None,
    watch: Callable[[int, GazeXNetwork], None] | None = None,
    measured: bool = True,
    processes: int = PROCESSES,
) -> Path:
    """Train the small GazeX from nothing and write its folder.

    Parameters
    ----------
    out
        Folder of the model; created. Progress and checkpoint lie in `out/run` until the end and are then removed, so a
        killed run goes on where it was.
    seed
        Of weights, data order and augmentation.
    without
        Objectives left out: "heat", "fvp", "gtm", "sda".
    steps
        Optimizer steps.
    stages
        Default `small_stages(without=without, steps=steps)`.
    pool
        Number of training phantoms.
    calibration_cases
        Phantoms of the calibration series on which probabilities and boxes are calibrated.
    records
        Training phantoms drawn before; drawn here if omitted.
    watch
        Called with the number of steps made and the network, to measure it meanwhile.
    measured
        Whether `metrics.json` says how well the model reads held-out phantoms.
    processes
        That share every batch; another number gives other weights.
    """
    if pool < 1:
        raise TrainError(f"A pool of {pool} phantoms teaches nothing; give at least 1.")
    stages = list(stages if stages is not None else small_stages(without=without, steps=steps))
    network = build_small(small_tokenizer(), seed=seed, heat="heat" not in without)
    drawing, given = time.monotonic(), records is not None
    if records is None:
        records = PhantomRecords(network.processor, PHANTOM_FINDINGS)
        records.prepare(pool, processes=processes)
    drawn, cpu = time.monotonic(), _cpu_s()
    resumed = (out / "run" / CHECKPOINT).is_file()
    aside = np.zeros(2)  # wall and CPU seconds of watching

    def after_step(step: int) -> None:
        if watch is not None:
            since = np.array([time.monotonic(), _cpu_s()])
            watch(step, network)
            aside[:] += np.array([time.monotonic(), _cpu_s()]) - since

    state = train(
        network, PhantomSource(records, pool), stages, out / "run",
        seed=seed, resume=True, muon=True, processes=processes, after_step=after_step,
    )  # fmt: skip
    if not state.finished:
        raise TrainError(
            f"Training was stopped at step {state.step} of {state.total}; run the same command again to go on."
        )
    trained = np.array([state.elapsed_s, _cpu_s() - cpu]) - aside
    made = out / "run" / "model"  # until it is whole
    network.save(made, half=True)
    network = load_network(made)  # calibrate what was stored, rounding included
    if network.heat is not None:
        calibration = calibrate(network, cases=calibration_cases)
        (made / "calibration.json").write_text(json.dumps(calibration.to_dict(), indent=1) + "\n", encoding="utf-8")
    if measured:
        (made / "metrics.json").write_text(_measured(made), encoding="utf-8")
    options = "" if steps == SMALL_STEPS else f" --steps {steps}"
    options += "" if pool == SMALL_POOL else f" --pool {pool}"
    options += "".join(f" --without {o}" for o in OBJECTIVES if o in without)
    card = {
        "name": "GazeX small",
        "command": f"python -m gazex train-small --out DIR --seed {seed}{options}",
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "phantoms": pool,
        "stages": [s.to_dict() for s in stages],
        "final_loss": round(state.loss, 4),
        "drawing_s": None if given else round(drawn - drawing, 1),
        "training_s": round(float(trained[0]), 1),
        "training_cpu_s": None if resumed else round(float(trained[1]), 1),
        "processes": processes,
        **environment(),
    }
    (made / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    for path in made.iterdir():
        path.replace(out / path.name)
    shutil.rmtree(out / "run")
    return out


def _cpu_s() -> float:
    """CPU seconds of this process and of those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def retrain(
    visits_folder: Path,
    init: str,
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    resume: bool = False,
    calibration_cases: int = 120,
) -> RunState:
    """Train a model further on real visits, mixed with replayed phantoms.

    Parameters
    ----------
    visits_folder
        As written by `gazex.schema.write_visits`; one visit is enough.
    init
        "small", a GazeX folder, a Qwen2-VL folder or a hub id.
    out
        Folder of the run: `progress.jsonl`, `checkpoint.pt`, and `model/` once finished.
    steps, seed
        Optimizer steps; seed of data order and augmentation.
    resume
        Go on from the checkpoint in `out`.
    calibration_cases
        Phantoms on which the new model's probabilities are calibrated.

    Raises
    ------
    SchemaError, ModelError, TrainError
        Visits, model or run folder are not usable; one sentence says why.
    """
    if steps < 1:
        raise TrainError(f"--steps is {steps}; give 1 or more.")
    visits = read_visits(visits_folder)
    if not visits:
        raise TrainError(f"There is no visit in {visits_folder} to train on.")
    if not any(v.sentences for v in visits):
        raise TrainError(f"No visit in {visits_folder} has a sentence to learn from.")
    network = load_network(init, trainable=True)
    findings = network.config.heat_findings
    replay = PhantomSource(PhantomRecords(network.processor, findings), REPLAY_POOL)
    records = VisitRecords(visits_folder, visits, network.processor, findings)
    state = train(network, ReplaySource(records, replay), retrain_stages(steps), out, seed=seed, resume=resume)
    if not state.finished:
        return state
    progress = Progress(out, steps, elapsed_before=state.elapsed_s, every_s=1.0)
    model, whole = out / "model.part", out / "model"
    shutil.rmtree(model, ignore_errors=True)
    network.save(model)
    calibration = calibrate(
        network,
        cases=calibration_cases,
        tick=lambda done, of: progress.write(steps, state.loss, 0.0, phase="calibrating", done=done, of=of),
    )
    (model / "calibration.json").write_text(json.dumps(calibration.to_dict(), indent=1) + "\n", encoding="utf-8")
    card = {
        "name": "GazeX",
        "init": init,
        "init_sha256": weights_sha256(init),
        "visits": len(visits),
        "readers": len({v.reader for v in visits}),
        "replay_share": REPLAY,
        "steps": steps,
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "final_loss": round(state.loss, 4),
        "stages": [s.to_dict() for s in retrain_stages(steps)],
        **environment(),
    }
    (model / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(whole, ignore_errors=True)
    model.replace(whole)
    return state


def _measured(model: Path) -> str:
    """What `python -m gazex evaluate --model MODEL` writes."""
    from gazex.evaluate import as_text, evaluate
    from gazex.infer import GazeX

    return as_text(evaluate(GazeX.load(model), cases=CARD_CASES))


def environment() -> dict[str, Any]:
    """Versions a result depends on."""
    names = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pillow", "safetensors", "peft")
    return {"python": platform.python_version(), "libraries": {n: version(n) for n in names}}
