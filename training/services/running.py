"""Starting, working on, cancelling and resuming a training run.

The row is the truth. A worker claims it, runs `python -m gazex train` in a process group of its own, copies its
progress into TrainingStep rows, evaluates what came out beside the base on the same frozen phantoms and registers
the version. Whatever is killed (trainer, worker, machine), the next claim goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import logging
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from study.models import AuditEntry
from study.services import audit
from study.services.errors import Refused
from training.models import DatasetRelease, ModelVersion, TrainingRun

from . import gates, leases, progress
from . import models as versions
from .leases import Held
from .processes import BusyFolderError, Ending, exclusive, last_sentence, watch

logger = logging.getLogger(__name__)

LEASE_S = 9.0
HEARTBEAT_S = 2.0
MAX_STEPS = 1_000_000
#: Exit status of a trainer that checkpointed because of SIGTERM.
TERMINATED = 128 + signal.SIGTERM


class RunFailedError(Exception):
    """The run cannot succeed by trying again; one sentence for the person who started it."""


def start_run(
    *, release: DatasetRelease, base: ModelVersion, steps: int, actor: Any, seed: int | None = None
) -> TrainingRun:
    """Queues a run. Its gate is written now, before anybody knows what will come out."""
    from training.tasks import train

    if not 1 <= steps <= MAX_STEPS:
        raise Refused(f"A run takes 1 to {MAX_STEPS:,} steps; {steps} were asked for.")
    if not (release.folder / "visits.jsonl").is_file():
        raise Refused(f"The files of release “{release}” are gone; rebuild it with `manage.py rebuild_release`.")
    with transaction.atomic():
        run = TrainingRun(
            release=release,
            base=base,
            total=steps,
            seed=secrets.randbelow(2**31) if seed is None else seed,
            gate=gates.default_gate(),
            requested_by=actor,
        )
        run.full_clean()
        run.save()
        audit.record(
            actor=actor,
            act=AuditEntry.Act.TRAINING_STARTED,
            subject=f"TrainingRun {run.id}",
            detail={"release": release.sha256, "base": base.weights_sha256, "steps": steps, "gate": run.gate},
        )
        train.delay_on_commit(run_id=str(run.id))
    return run


def cancel_run(*, run: TrainingRun, actor: Any) -> None:
    """Stops a run at its next checkpoint; it can be resumed from there."""
    with transaction.atomic():
        if not leases.request_cancel(row=run):
            raise Refused("This run has ended already; there is nothing to cancel.")
        audit.record(actor=actor, act=AuditEntry.Act.TRAINING_CANCELLED, subject=f"TrainingRun {run.id}", detail={})


def resume_run(*, run: TrainingRun, actor: Any) -> None:
    """Queues a cancelled or failed run again; it goes on from its last checkpoint."""
    from training.tasks import train

    with transaction.atomic():
        if not leases.requeue(row=run):
            raise Refused("Only a cancelled or failed run can be resumed.")
        audit.record(
            actor=actor,
            act=AuditEntry.Act.TRAINING_STARTED,
            subject=f"TrainingRun {run.id}",
            detail={"resumed_from_step": run.step},
        )
        train.delay_on_commit(run_id=str(run.id))


def work(*, run_id: UUID | str) -> bool:
    """One worker's attempt at a run: everything between claiming it and letting go of it. True: it needs another."""
    run = leases.claim(model=TrainingRun, pk=UUID(str(run_id)), seconds=LEASE_S)
    if run is None:
        return False
    logger.info("training run claimed", extra={"run": str(run.id), "attempt": run.attempt})
    try:
        with exclusive(run.folder) as lock:
            attempt = _Attempt(run, lock)
            attempt.train()
            metrics = attempt.evaluate()
            sha256 = attempt.keep()
        with transaction.atomic():
            # Only the worker that still holds the row registers what came out.
            if leases.finish(row=run, state=TrainingRun.State.SUCCEEDED, step=run.total):
                versions.register_trained(run=run, sha256=sha256, metrics=metrics)
    except _StoppedError as stopped:
        if stopped.held is Held.CANCEL:
            leases.finish(row=run, state=TrainingRun.State.CANCELLED)
    except (RunFailedError, Refused) as failure:
        leases.finish(row=run, state=TrainingRun.State.FAILED, error=str(failure))
    except (_KilledError, BusyFolderError) as killed:
        return _try_again(run, str(killed))
    except SoftTimeLimitExceeded:
        # The trainer has checkpointed; a long run goes on in another task.
        return leases.give_back(row=run, another=True)
    except Exception as error:
        logger.exception("training run interrupted", extra={"run": str(run.id)})
        return _try_again(run, f"The run was interrupted by {type(error).__name__}: {error}.")
    return False


def _try_again(run: TrainingRun, sentence: str) -> bool:
    if run.attempt >= run.attempt_limit:
        leases.finish(row=run, state=TrainingRun.State.FAILED, error=f"{sentence} {run.attempt} attempts ended so.")
        return False
    return leases.give_back(row=run)


class _StoppedError(Exception):
    def __init__(self, held: Held) -> None:
        self.held = held


class _KilledError(Exception):
    """The trainer was killed from outside; its checkpoint is whole."""


class _Attempt:
    """A claimed run in its locked folder."""

    def __init__(self, run: TrainingRun, lock: int) -> None:
        self.run = run
        self.lock = lock
        self.out = run.folder / "out"
        self.last_beat = time.monotonic()

    def train(self) -> None:
        run = self.run
        tail = progress.Tail(self.out / "progress.jsonl", skip=True)
        command = ["train", "--visits", str(run.release.folder), "--init", run.base.location, "--out", str(self.out)]
        command += ["--steps", str(run.total), "--seed", str(run.seed)]
        if self.out.exists():
            command.append("--resume")

        def beat() -> Held:
            fields = progress.store(run=run, points=tail.read())
            phase = TrainingRun.Phase.CALIBRATING if tail.calibrating else TrainingRun.Phase.TRAINING
            return self._renew(phase=phase, **fields)

        ending = self._gazex(command, "trainer", beat)
        if beat() is Held.LOST:  # the last lines
            raise _StoppedError(Held.LOST)
        self._check(ending, "trainer")
        if not (self.out / "model").is_dir():
            raise RunFailedError("The trainer ended without a model; its last words are in its log.")

    def evaluate(self) -> dict[str, Any]:
        """Metrics of the new weights; the base's too where nobody has measured them, or kept nothing of the cases."""
        base = self.run.base
        cases = self.run.gate["cases"]
        if base.metrics.get("cases") != cases or "each" not in base.metrics:
            measured = self._metrics(base.location, cases, "base")
            versions.store_metrics(version=base, metrics=measured)
        return self._metrics(str(self.out / "model"), cases, "model")

    def keep(self) -> str:
        """Hashes and copies the new weights beside the heartbeat: gigabytes take longer than a lease."""
        with ThreadPoolExecutor(1) as pool:
            kept = pool.submit(versions.keep_weights, run=self.run, model=self.out / "model")
            while not wait([kept], timeout=HEARTBEAT_S).done:
                held = self._renew(phase=TrainingRun.Phase.EVALUATING)
                if held is not Held.YES:
                    raise _StoppedError(held)
        return kept.result()

    def _metrics(self, model: str, cases: int, name: str) -> dict[str, Any]:
        target = self.run.folder / f"metrics-{name}.json"
        command = ["evaluate", "--model", model, "--out", str(target), "--cases", str(cases)]
        ending = self._gazex(command, f"evaluation-{name}", lambda: self._renew(phase=TrainingRun.Phase.EVALUATING))
        self._check(ending, f"evaluation-{name}")
        metrics: dict[str, Any] = json.loads(target.read_text())
        return metrics

    def _gazex(self, arguments: Sequence[str], name: str, beat: Any) -> Ending:
        return watch(
            [sys.executable, "-m", "gazex", *arguments],
            log=self.run.folder / f"{name}.log",
            inherit=self.lock,
            beat=beat,
            beat_s=HEARTBEAT_S,
            cwd=settings.BASE_DIR,
        )

    def _check(self, ending: Ending, name: str) -> None:
        if ending.told is not Held.YES:
            raise _StoppedError(ending.told)
        if ending.code == TERMINATED:
            raise _KilledError(f"The {name} was told to stop by something other than this worker.")
        if ending.code < 0:
            raise _KilledError(f"The {name} was killed by {signal.Signals(-ending.code).name}.")
        if ending.code:
            said = last_sentence(self.run.folder / f"{name}.log")
            raise RunFailedError(said or f"The {name} ended with code {ending.code} and said nothing.")

    def _renew(self, **fields: Any) -> Held:
        """Renews the lease; a database that does not answer is forgiven for as long as the lease lasts."""
        try:
            held = leases.renew(row=self.run, seconds=LEASE_S, **fields)
        except DatabaseError:
            connection.close_if_unusable_or_obsolete()
            return Held.LOST if time.monotonic() - self.last_beat > LEASE_S else Held.YES
        self.last_beat = time.monotonic()
        return held
