"""A training run through its real trainer: started, watched, cancelled, killed, resumed, registered, answering."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import DatabaseError

from study.models import AuditEntry
from study.services.errors import Refused
from tests.training.made import make_collection, make_version
from training.models import DatasetRelease, ModelVersion, TrainingRun
from training.services import assisting, gates, leases, models, processes, running
from training.services.leases import Held
from training.services.releasing import build_release

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

STEPS = 8


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that runs start, in order, as they are started."""
    processes_started: list[subprocess.Popen[bytes]] = []
    start = processes._start

    def remember(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **kwargs)
        processes_started.append(process)
        return process

    monkeypatch.setattr(processes, "_start", remember)
    return processes_started


@contextmanager
def meanwhile(condition: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Does `act` in another thread as soon as `condition` holds, which must happen while the block runs."""
    acted = threading.Event()

    def wait() -> None:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            if condition():
                act()
                acted.set()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join(1)
    assert acted.is_set(), "it never came to that"


def release() -> DatasetRelease:
    _study, _reads, researcher = make_collection(cases=2)
    return build_release(name="Pilot", actor=researcher, user=researcher)


def lines(run: TrainingRun) -> int:
    path = run.folder / "out" / "progress.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.timeout(900)
def test_a_run_that_is_cancelled_resumed_and_killed_goes_on_from_its_checkpoint_and_its_version_answers(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "CASES", 8)
    # Eight steps may take less than two beats of the heart; the cancellation must come between them.
    monkeypatch.setattr(running, "HEARTBEAT_S", 0.1)
    frozen = release()
    base = models.register_base()
    run = running.start_run(release=frozen, base=base, steps=STEPS, actor=frozen.created_by, seed=7)

    # Cancelled, it stops at a checkpoint.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "renew", _cancel_when(lambda: lines(run) >= 2, run))
        assert running.work(run_id=run.pk) is False
    run.refresh_from_db()
    reached = run.step
    assert run.state == TrainingRun.State.CANCELLED and 1 <= reached < STEPS
    assert (run.folder / "out" / "checkpoint.pt").exists()
    assert started[-1].poll() is not None
    running.resume_run(run=run, actor=frozen.created_by)

    # Killed without a word, it is tried again, from that checkpoint.
    before = lines(run)
    with meanwhile(lambda: lines(run) > before, lambda: os.killpg(started[-1].pid, signal.SIGKILL)):
        assert running.work(run_id=run.pk) is True
    run.refresh_from_db()
    assert (run.state, run.attempt) == (TrainingRun.State.QUEUED, 2)
    assert min(run.steps.filter(attempt=2).values_list("step", flat=True)) > reached

    assert running.work(run_id=run.pk) is False
    run.refresh_from_db()
    assert (run.state, run.error, run.step, run.attempt) == (TrainingRun.State.SUCCEEDED, "", STEPS, 3)
    assert min(run.steps.filter(attempt=3).values_list("step", flat=True)) > reached
    assert all(process.poll() is not None for process in started)

    version = ModelVersion.objects.get(run=run)
    assert (version.base, version.weights_sha256 != base.weights_sha256) == (base, True)
    assert version.card["release"]["sha256"] == frozen.sha256
    assert version.card["base"]["weights_sha256"] == base.weights_sha256
    base.refresh_from_db()
    assert version.metrics["cases"] == base.metrics["cases"] == 8
    assert version.metrics["seed"] == base.metrics["seed"]
    assert [check.label for check in gates.checks(version)]

    image = frozen.release_reads.first().read.assignment.case.images.get()
    output = assisting.answer(image=image, version=version)
    assert output.model_sha256 == version.weights_sha256
    assert assisting.answer(image=image, version=version) == output


def _cancel_when(condition: Callable[[], bool], run: TrainingRun) -> Callable[..., Held]:
    """A heartbeat during which a person cancels the run as soon as the condition holds."""
    renew = leases.renew

    def beat(**kwargs: Any) -> Held:
        if condition():
            leases.request_cancel(row=run)
        return renew(**kwargs)

    return beat


@pytest.mark.timeout(300)
def test_a_trainer_that_cannot_start_gives_its_one_sentence() -> None:
    frozen = release()
    base = make_version("GazeX gone", path="no/such/model")
    run = running.start_run(release=frozen, base=base, steps=5, actor=frozen.created_by)
    assert running.work(run_id=run.pk) is False
    run.refresh_from_db()
    assert run.state == TrainingRun.State.FAILED
    assert "no/such/model" in run.error and "\n" not in run.error and run.error.rstrip().endswith(".")
    assert not ModelVersion.objects.filter(run=run).exists()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """A queued run whose training and evaluation are behind it: its folder holds real weights."""
    frozen = release()
    run = running.start_run(release=frozen, base=make_version(), steps=5, actor=frozen.created_by)
    shutil.copytree(Path(settings.BASE_DIR) / "gazex/weights/small", run.folder / "out" / "model")
    monkeypatch.setattr(running._Attempt, "train", lambda self: None)
    monkeypatch.setattr(running._Attempt, "evaluate", lambda self: {"cases": 8})
    return run


@pytest.mark.parametrize(
    ("before", "again"),
    [({}, True), ({"cases": 8, "each": {}}, True), ({"cases": 60}, True), ({"cases": 60, "each": {}}, False)],
    ids=["not measured", "on other cases", "its cases not kept", "as the new one will be"],
)
def test_a_base_is_measured_where_the_new_version_could_not_be_held_against_it(
    before: dict[str, Any], again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = release()
    base = make_version(metrics=before)
    run = running.start_run(release=frozen, base=base, steps=5, actor=frozen.created_by)
    monkeypatch.setattr(running._Attempt, "_metrics", lambda self, model, cases, name: {"cases": cases, "of": name})
    assert running._Attempt(run, lock=0).evaluate() == {"cases": 60, "of": "model"}
    base.refresh_from_db()
    assert base.metrics == ({"cases": 60, "of": "base"} if again else before)


def kept() -> list[str]:
    """The folders of weights that are kept, unfinished ones too."""
    return sorted(path.name for path in (Path(settings.GAZEROOM_DATA) / "models").iterdir())


def test_weights_are_hashed_and_copied_before_the_database_is_held(trained: TrainingRun, monkeypatch: Any) -> None:
    order: list[str] = []

    def note(owner: Any, name: str) -> None:
        done = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            order.append(name)
            return done(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    note(models, "_hash")
    note(shutil, "copytree")
    note(leases, "finish")
    assert running.work(run_id=trained.pk) is False
    version = ModelVersion.objects.get(run=trained)
    assert order == ["_hash", "copytree", "finish"]
    assert (kept(), version.path) == ([version.weights_sha256[:12]], f"models/{version.weights_sha256[:12]}")
    assert models._hash(version.location) == version.weights_sha256


@pytest.mark.parametrize("moment", ["while copying", "before the row is written", "with a torn folder left"])
def test_a_run_interrupted_while_its_weights_are_kept_keeps_them_once(
    trained: TrainingRun, moment: str, monkeypatch: Any
) -> None:
    def torn(source: Path, target: Path) -> None:
        target.mkdir(parents=True)
        (target / "model.safetensors").write_bytes(b"half")
        if moment == "with a torn folder left":
            target.rename(target.with_name(models._hash(str(source))[:12]))
        raise OSError("No space left on device")

    def gone(**kwargs: Any) -> bool:
        raise DatabaseError("the database went away")

    with monkeypatch.context() as patch:
        if moment == "before the row is written":
            patch.setattr(leases, "finish", gone)
        else:
            patch.setattr(shutil, "copytree", torn)
        assert running.work(run_id=trained.pk) is True
    assert not ModelVersion.objects.filter(run=trained).exists()
    assert running.work(run_id=trained.pk) is False
    version = ModelVersion.objects.get(run=trained)
    assert kept() == [version.weights_sha256[:12]]
    assert models._hash(version.location) == version.weights_sha256


def test_a_worker_that_lost_its_run_while_keeping_the_weights_registers_nothing(
    trained: TrainingRun, monkeypatch: Any
) -> None:
    asked, keep_weights = threading.Event(), running.versions.keep_weights

    def taken_over(**kwargs: Any) -> Held:
        TrainingRun.objects.filter(pk=trained.pk).update(token=uuid4())
        asked.set()
        return Held.LOST

    def slowly(**kwargs: Any) -> str:
        assert asked.wait(30), "gigabytes take longer than a heartbeat"
        return keep_weights(**kwargs)

    monkeypatch.setattr(running, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(leases, "renew", taken_over)
    monkeypatch.setattr(running.versions, "keep_weights", slowly)
    assert running.work(run_id=trained.pk) is False
    trained.refresh_from_db()
    assert trained.state == TrainingRun.State.RUNNING and not ModelVersion.objects.filter(run=trained).exists()


def test_the_trainer_of_a_run_that_was_taken_over_is_killed(tmp_path: Path) -> None:
    ending = processes.watch(
        [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", inherit=0, beat=lambda: Held.LOST
    )
    assert (ending.code, ending.told) == (-signal.SIGKILL, Held.LOST)


WATCH = """
import sys
from pathlib import Path
import django
django.setup()
from training.services import processes
from training.services.leases import Held
sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
processes.watch([sys.executable, "-c", sleeper], log=Path(sys.argv[1]), inherit=0, beat=lambda: Held.YES)
"""


def test_a_trainer_dies_with_the_worker_that_watches_it(tmp_path: Path) -> None:
    watcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WATCH,
            str(tmp_path / "log"),
        ],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "study.site.settings"},
    )
    deadline = time.monotonic() + 30
    while not (said := _text(tmp_path / "log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    trainer = int(said)
    watcher.kill()
    watcher.wait()
    deadline = time.monotonic() + 30
    while _alive(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(trainer)


def test_a_folder_that_a_left_over_trainer_holds_is_not_written_beside(tmp_path: Path) -> None:
    with processes.exclusive(tmp_path / "run") as lock:
        left_over = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    try:
        with (
            pytest.raises(processes.BusyFolderError, match=r"^Another process still works in run\.$"),
            processes.exclusive(tmp_path / "run"),
        ):
            pass
    finally:
        left_over.communicate(b"\n")
    with processes.exclusive(tmp_path / "run"):
        pass


def test_starting_a_run_writes_its_gate_and_the_audit(
    django_capture_on_commit_callbacks: Any, monkeypatch: Any
) -> None:
    from training import tasks

    sent: list[Any] = []
    monkeypatch.setattr(tasks.train, "apply_async", lambda *args, **kwargs: sent.append((args, kwargs)))
    frozen = release()
    with django_capture_on_commit_callbacks(execute=True):
        run = running.start_run(release=frozen, base=make_version(), steps=5, actor=frozen.created_by)
    assert run.gate == gates.default_gate()
    assert AuditEntry.objects.filter(act="training_started", subject=f"TrainingRun {run.id}").exists()
    assert len(sent) == 1 and str(run.id) in str(sent[0])


@pytest.mark.parametrize("steps", [0, -1, running.MAX_STEPS + 1])
def test_a_run_of_no_or_too_many_steps_is_refused(steps: int) -> None:
    frozen = release()
    with pytest.raises(Refused, match="steps"):
        running.start_run(release=frozen, base=make_version(), steps=steps, actor=frozen.created_by)


def test_a_run_on_a_release_whose_files_are_gone_is_refused() -> None:
    frozen = release()
    (frozen.folder / "visits.jsonl").unlink()
    with pytest.raises(Refused, match="rebuild_release"):
        running.start_run(release=frozen, base=make_version(), steps=5, actor=frozen.created_by)


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
