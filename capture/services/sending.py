"""Tasks that start once the present transaction has committed."""

from __future__ import annotations

from typing import Any

from celery import Task
from django.db import transaction


def when_committed(task: Task, **kwargs: Any) -> None:
    """Start `task` then. A broker that is away must not undo what was committed: the failure is logged."""

    # A function with a name: Django writes it into the log when it fails, and a partial has none.
    def send() -> None:
        task.apply_async(kwargs=kwargs, retry=False)

    transaction.on_commit(send, robust=True)
