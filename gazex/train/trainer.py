"""The loop.

Every step is a function of the seed, the step's number and the state, so a run killed at any point and resumed from its
last checkpoint ends with the very weights of a run that was never interrupted (on a CPU; some of CUDA's sums depend on
their order).
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

import numpy as np
import torch

from gazex.model.heat_head import heat_loss
from gazex.model.network import GazeXNetwork
from gazex.tasks.example import Example
from gazex.train.collate import Batch, collate
from gazex.train.data import Record
from gazex.train.muon import Muon
from gazex.train.shares import Shares, SharesError, split
from gazex.train.stages import Stage

log = logging.getLogger(__name__)
CHECKPOINT: Final = "checkpoint.pt"
PROGRESS: Final = "progress.jsonl"


class TrainError(ValueError):
    """A run cannot start or continue; the message says why and what to do."""


class Source(Protocol):
    """Where a step's records come from: a function of the generator alone."""

    def draw(self, count: int, rng: np.random.Generator) -> list[Record]: ...


@dataclass(frozen=True)
class RunState:
    """How a run ended: `finished`, or stopped by a signal after `step` steps."""

    step: int
    total: int
    finished: bool
    loss: float
    elapsed_s: float


class Progress:
    """`progress.jsonl`: one object a line, flushed; at least every `every_s` seconds while steps are made."""

    def __init__(self, folder: Path, total: int, *, elapsed_before: float = 0.0, every_s: float = 0.5) -> None:
        self.path, self.total, self.every_s = folder / PROGRESS, total, every_s
        self._start = time.monotonic() - elapsed_before
        self._last = -math.inf

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start

    def write(self, step: int, loss: float, lr: float, *, force: bool = False, **more: Any) -> None:
        now = time.monotonic()
        if not force and now - self._last < self.every_s:
            return
        self._last = now
        row = {
            "step": step,
            "total": self.total,
            "loss": round(loss, 5),
            "lr": lr,
            "elapsed_s": round(self.elapsed_s, 2),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **more}) + "\n")


def learning_rate(stages: Sequence[Stage], step: int) -> tuple[Stage, float]:
    """Stage and learning rate of step `step` (0-based)."""
    first = 0
    for stage in stages:
        if step < first + stage.steps:
            k = step - first
            if k < stage.warmup:
                return stage, stage.lr * (k + 1) / stage.warmup
            phase = (k - stage.warmup) / max(1, stage.steps - stage.warmup)
            return stage, stage.lr * (stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * phase)))
        first += stage.steps
    raise IndexError(f"The stages end before step {step}.")


def choose(records: Sequence[Record], stage: Stage, rng: np.random.Generator) -> list[tuple[Record, list[Example]]]:
    """For each record the examples this step trains on."""
    out = []
    for record in records:
        examples = []
        for task, share in stage.tasks.items():
            available = record.examples.get(task, [])
            if rng.random() < share and available:
                examples.append(available[int(rng.integers(len(available)))])
        out.append((record, examples))
    return out


def loss_of(network: GazeXNetwork, batch: Batch, stage: Stage) -> tuple[torch.Tensor, dict[str, float]]:
    """Weighted sum of the objectives of a stage, and each of them."""
    visual = network.see(batch.images)
    total = torch.zeros((), device=network.device)
    parts: dict[str, float] = {}
    films = network.see(batch.videos) if batch.videos else None
    for task, rows in batch.rows.items():
        part = network.text_loss(films if rows.kind == "video" else visual, rows)
        parts[task] = float(part.detach())
        total = total + stage.weights.get(task, 1.0) * part
    if stage.heat and network.heat is not None:
        part = heat_loss(network.heat_logits(visual), batch.heat, batch.known)
        parts["heat"] = float(part.detach())
        total = total + stage.heat * part
    return total, parts


def matrices(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parameters for Muon: what lies between embeddings and outputs, convolutions with it.

    With the stem's convolutions left to AdamW, nodules had an F1 of .52 after 1,000 steps; with Muon .85.
    """
    return {n: p for n, p in parameters.items() if p.ndim >= 2 and "embed" not in n and "heat." not in n}


def train(
    network: GazeXNetwork,
    source: Source,
    stages: Sequence[Stage],
    out: Path,
    *,
    seed: int,
    resume: bool = False,
    muon: bool = False,
    processes: int = 1,
    checkpoint_every_s: float = 20.0,
    after_step: Callable[[int], None] | None = None,
) -> RunState:
    """Train, writing progress and checkpoints to `out`.

    Parameters
    ----------
    network
        Trained in place.
    source
        Records of each step.
    stages
        What is trained when.
    out
        Folder for `progress.jsonl` and the checkpoint; created where missing.
    seed
        Of data order, task choice and augmentation.
    resume
        Continue from the checkpoint in `out`, or start where there is none. Without it, a folder with a checkpoint is
        refused.
    muon
        Matrices and convolutions, but those of the heat (see `matrices`), by Muon (Jordan 2024), scaled to AdamW's step
        (Liu et al., arXiv 2502.16982); AdamW otherwise.
    processes
        Each takes its share of every batch (see `gazex.train.shares`). The weights depend on their number, since a
        share is a batch of its own in noise and in means.
    checkpoint_every_s
        Seconds between checkpoints; one is written after the last step and on SIGTERM in any case.
    after_step
        Called with the number of steps made; for tests and for watching.

    Returns
    -------
    RunState
        `finished` is False where SIGTERM stopped it; the checkpoint then holds everything to go on.

    Raises
    ------
    TrainError
        A checkpoint of another run is in the way, the loss is not finite, or there is nothing to train on.
    """
    if processes > 1 and network.device.type != "cpu":
        raise TrainError("Several processes share a training on the CPU alone; hide the GPU or train in one process.")
    out.mkdir(parents=True, exist_ok=True)
    total = sum(stage.steps for stage in stages)
    if total < 1:
        raise TrainError("There are no steps to train; give --steps 1 or more.")
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    # Embeddings, norms and biases are not decayed.
    hidden = matrices(parameters) if muon else {}
    decayed = [p for n, p in parameters.items() if p.ndim >= 2 and "embed" not in n and n not in hidden]
    others = [p for n, p in parameters.items() if p.ndim < 2 or "embed" in n]
    optimizers: list[torch.optim.Optimizer] = []
    if muon:
        optimizers.append(Muon(hidden.values(), weight_decay=0.05))
    optimizers.append(
        torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98)
        )
    )
    run = {"seed": seed, "stages": [s.to_dict() for s in stages]}
    plan = json.dumps(run if processes == 1 else {**run, "processes": processes}, sort_keys=True)
    step, elapsed, last = 0, 0.0, float("nan")
    path = out / CHECKPOINT
    if path.is_file():
        if not resume:
            raise TrainError(f"{out} already holds a run; continue it with --resume or choose another folder.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["plan"] != plan:
            raise TrainError(
                f"The run in {out} has other stages, another seed or other processes; choose another folder."
            )
        missing = set(parameters) ^ set(state["parameters"])
        if missing:
            raise TrainError(
                f"The checkpoint in {out} is of another model ({sorted(missing)[0]}); choose another folder."
            )
        with torch.no_grad():
            for name, value in state["parameters"].items():
                parameters[name].copy_(value)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["torch_rng"])
        step, elapsed, last = int(state["step"]), float(state["elapsed_s"]), float(state["loss"])
        log.info("Resumed at step %d of %d", step, total)
    else:
        torch.manual_seed(seed)
    progress = Progress(out, total, elapsed_before=elapsed)

    def checkpoint() -> None:
        state = {
            "plan": plan,
            "step": step,
            "loss": last,
            "elapsed_s": progress.elapsed_s,
            "parameters": {n: p.detach().cpu().clone() for n, p in parameters.items()},
            "optimizers": [o.state_dict() for o in optimizers],
            "torch_rng": torch.get_rng_state(),
        }
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)  # whole or not at all, whenever the process dies

    def work(at: int, share: int) -> tuple[float, dict[str, float]]:
        stage, _ = learning_rate(stages, at)
        rng = np.random.default_rng(np.random.SeedSequence([seed, at]))
        drawn = source.draw(stage.batch, rng)
        if not stage.heat and not any(record.examples.get(task) for record in drawn for task in stage.tasks):
            raise TrainError("No visit gives an example for the objectives that are switched on.")
        chosen = choose(drawn, stage, rng)
        noise = np.random.default_rng(np.random.SeedSequence([seed, at, share]))
        mine = chosen[split(len(chosen), processes)[share]]
        if not mine:
            return 0.0, {}
        batch = collate(mine, network.processor, rng=noise)
        if not stage.heat and not batch.rows and any(examples for _, examples in mine):
            raise TrainError("Every example of a batch is too long for the model; leave the longest visits out.")
        loss, parts = loss_of(network, batch, stage)
        weight = len(mine) / len(chosen)
        if loss.requires_grad:
            (weight * loss).backward()
        return weight * float(loss.detach()), {} if share else parts  # of progress, one share tells enough

    network.train()
    saved_at = time.monotonic()
    with _sigterm() as stopped, Shares(network, work, processes) as shares:
        while step < total:
            stage, lr = learning_rate(stages, step)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = lr
            try:
                last, parts = shares.gradients(step)
            except SharesError as error:
                raise TrainError(str(error)) from None
            if not math.isfinite(last):
                raise TrainError(f"The loss is no longer finite at step {step + 1}; lower the learning rate.")
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            rounded = {k: round(v, 4) for k, v in parts.items()}
            progress.write(step, last, lr, force=step == total, stage=stage.name, parts=rounded)
            if after_step is not None:
                after_step(step)
            if stopped.is_set or step == total or time.monotonic() - saved_at > checkpoint_every_s:
                checkpoint()
                saved_at = time.monotonic()
            if stopped.is_set and step < total:
                progress.write(step, last, lr, force=True, stage=stage.name, stopped=True)
                network.eval()
                return RunState(step, total, False, last, progress.elapsed_s)
    network.eval()
    return RunState(step, total, True, last, progress.elapsed_s)


class _Flag:
    is_set = False


@contextmanager
def _sigterm() -> Iterator[_Flag]:
    """Turn SIGTERM into a flag while the block runs (main thread only; elsewhere signals stay as they are)."""
    flag = _Flag()

    def handler(_number: int, _frame: FrameType | None) -> None:
        flag.is_set = True

    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:
        yield flag
        return
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, before)
