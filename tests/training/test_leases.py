"""One worker at a time, whatever dies."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from study.models import InsertOnlyError
from tests.factories import make_user
from tests.training.made import make_collection, make_version
from training import tasks
from training.models import Job, Promotion, ReleaseRead, TrainingRun, TrainingStep
from training.services import leases
from training.services.leases import Held
from training.services.releasing import build_release

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def make_run(**fields: Any) -> TrainingRun:
    _study, _reads, researcher = make_collection(cases=1)
    release = build_release(name="Pilot", actor=researcher, user=researcher)
    return TrainingRun.objects.create(
        **{"release": release, "base": make_version(), "total": 10, "seed": 1, "requested_by": researcher} | fields
    )


def make_job(**fields: Any) -> Job:
    return Job.objects.create(kind=Job.Kind.REGISTER, requested_by=make_user(), **fields)


def expire(row: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


CLAIM = """
import os, sys
import django
django.setup()
from training.models import Job
from training.services import leases
Job.objects.exists()
print("ready", flush=True)
sys.stdin.readline()
row = leases.claim(model=Job, pk=sys.argv[1], seconds=9)
print("claimed" if row else "not claimed", flush=True)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the file the racing workers share is an SQLite copy")
def test_of_workers_that_race_for_a_row_exactly_one_gets_it(tmp_path: Path) -> None:
    jobs = [make_job() for _ in range(4)]
    shared = tmp_path / "race.sqlite3"
    connection.ensure_connection()
    with sqlite3.connect(shared) as copy:
        connection.connection.backup(copy)
    copy.close()
    env = os.environ | {"DATABASE_URL": f"sqlite:///{shared}", "DJANGO_SETTINGS_MODULE": "study.site.settings"}
    for job in jobs[:2]:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIM, str(job.pk)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=settings.BASE_DIR,
            )
            for _ in range(3)
        ]  # fmt: skip
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        said = sorted(worker.communicate(timeout=30)[0].strip() for worker in workers)
        assert said == ["claimed", "not claimed", "not claimed"]


def test_a_held_row_is_not_claimed_again_until_its_lease_expires() -> None:
    job = make_job()
    first = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert first is not None and leases.claim(model=Job, pk=job.pk, seconds=60) is None
    expire(job)
    second = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert second is not None and second.attempt == 2 and second.token != first.token


def test_a_worker_that_lost_its_row_learns_so_and_cannot_end_it() -> None:
    job = make_job()
    first = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert first is not None
    expire(job)
    second = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert second is not None
    assert leases.renew(row=first, seconds=60, done=7) is Held.LOST
    assert leases.finish(row=first, state=Job.State.SUCCEEDED) is False
    job.refresh_from_db()
    assert (job.state, job.done) == ("running", 0)


def test_cancelling_reaches_the_worker_with_its_next_heartbeat() -> None:
    job = make_job()
    held = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert held is not None and leases.renew(row=held, seconds=60) is Held.YES
    assert leases.request_cancel(row=job)
    assert leases.renew(row=held, seconds=60) is Held.CANCEL


def test_a_queued_row_is_cancelled_at_once_and_never_claimed() -> None:
    job = make_job()
    leases.request_cancel(row=job)
    assert leases.claim(model=Job, pk=job.pk, seconds=60) is None
    job.refresh_from_db()
    assert job.state == "cancelled" and job.finished_at is not None


def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(tasks.train, "delay", lambda *, run_id: messages.append(run_id))
    monkeypatch.setattr(tasks.work_on_job, "delay", lambda *, job_id: messages.append(job_id))
    return messages


def test_reap_sends_one_message_for_a_run_whose_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(monkeypatch)
    run = make_run()
    assert leases.claim(model=TrainingRun, pk=run.pk, seconds=9)
    tasks.reap()
    assert messages == []
    expire(run)
    TrainingRun.objects.filter(pk=run.pk).update(enqueued_at=timezone.now() - timedelta(minutes=1))
    tasks.reap()
    tasks.reap()
    assert messages == [str(run.pk)]


def test_reap_sends_a_lost_message_again_but_not_while_the_workers_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(monkeypatch)
    waiting, busy = make_job(enqueued_at=timezone.now() - timedelta(minutes=1)), make_job()
    held = leases.claim(model=Job, pk=busy.pk, seconds=60)
    assert held is not None
    tasks.reap()
    assert messages == []
    leases.finish(row=held, state=Job.State.SUCCEEDED)
    tasks.reap()
    assert messages == [str(waiting.pk)]


def test_reap_gives_up_after_the_last_attempt_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(monkeypatch)
    run = make_run(attempt_limit=2)
    for _ in range(2):
        assert leases.claim(model=TrainingRun, pk=run.pk, seconds=9)
        expire(run)
    assert leases.claim(model=TrainingRun, pk=run.pk, seconds=9) is None
    tasks.reap()
    run.refresh_from_db()
    assert messages == [] and run.state == "failed"
    assert run.error.startswith("Its worker stopped without a word at every attempt")


def test_reap_ends_a_cancelled_run_whose_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(monkeypatch)
    run = make_run()
    assert leases.claim(model=TrainingRun, pk=run.pk, seconds=9)
    leases.request_cancel(row=run)
    expire(run)
    tasks.reap()
    run.refresh_from_db()
    assert (run.state, messages) == ("cancelled", [])


@pytest.mark.parametrize(
    "fields",
    [{"state": "running"}, {"state": "failed", "finished_at": timezone.now()}, {"state": "succeeded"}],
    ids=["running_without_a_holder", "failed_without_a_sentence", "succeeded_without_a_time"],
)
def test_the_database_refuses_a_state_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(**fields)


def test_releases_steps_and_promotions_are_recorded_once() -> None:
    run = make_run()
    TrainingStep.objects.create(run=run, attempt=1, step=1, loss=1.0, lr=0.1, elapsed_s=1.0)
    Promotion.objects.create(version=run.base, actor=None)
    for row in (run.release, ReleaseRead.objects.get(), TrainingStep.objects.get(), Promotion.objects.get()):
        with pytest.raises(InsertOnlyError):
            row.save()
        for sql in (f"UPDATE {row._meta.db_table} SET created_at = created_at", f"DELETE FROM {row._meta.db_table}"):
            with pytest.raises(DatabaseError, match="recorded once"), transaction.atomic():
                connection.cursor().execute(sql)


def test_every_task_of_this_room_has_time_limits() -> None:
    for task in (tasks.train, tasks.work_on_job, tasks.reap):
        assert task.soft_time_limit and task.time_limit and task.soft_time_limit < task.time_limit
        assert not task.acks_late


def test_training_goes_to_the_gpu_queue_and_reaping_does_not() -> None:
    from study.site.celery import app

    def queue(task: Any) -> str:
        options = app.amqp.router.route({}, task.name)
        found = options.get("queue")
        return getattr(found, "name", found) or app.conf.task_default_queue

    assert [queue(task) for task in (tasks.train, tasks.work_on_job, tasks.reap)] == ["gpu", "cpu", "io"]
