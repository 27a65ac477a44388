from __future__ import annotations

from celery import shared_task

from .services.analysing import perform


@shared_task(soft_time_limit=600, time_limit=660)
def run_analysis(*, run_id: str) -> None:
    perform(run_id=run_id)
