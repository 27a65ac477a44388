"""Celery's side: thin, keyword-only, with time limits; the rows decide what is done."""

from __future__ import annotations

from celery import shared_task

from training.models import Job, TrainingRun
from training.services import jobs, leases, running

TRAIN_S = 24 * 3600


@shared_task(soft_time_limit=TRAIN_S, time_limit=TRAIN_S + 300)
def train(*, run_id: str) -> None:
    """Works on a run (queue gpu); a run longer than the limit goes on from its checkpoint in the next task."""
    if running.work(run_id=run_id):
        train.apply_async(kwargs={"run_id": run_id}, countdown=2)


@shared_task(soft_time_limit=jobs.SOFT_LIMIT_S, time_limit=jobs.SOFT_LIMIT_S + 60)
def work_on_job(*, job_id: str) -> None:
    """Builds a release, or lets a model answer."""
    jobs.work(job_id=job_id)


@shared_task(soft_time_limit=20, time_limit=30)
def reap() -> None:
    """Sends a message for every run and job whose worker died or whose message was lost (queue cpu, every 5 s)."""
    for pk in leases.reap(model=TrainingRun):
        train.delay(run_id=str(pk))
    for pk in leases.reap(model=Job):
        work_on_job.delay(job_id=str(pk))
