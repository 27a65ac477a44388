"""Who works on a row: claimed by one conditional UPDATE, held by a lease, given up by a worker that dies.

A message says only "look at this row"; two workers may get the same message, one of them gets the row.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from training.models import Leased

L = TypeVar("L", bound=Leased)

MAX_ATTEMPTS = 5


class Held(Enum):
    """What a heartbeat learns about its row."""

    YES = "yes"
    CANCEL = "cancel"
    LOST = "lost"


def claim(*, model: type[L], pk: UUID, seconds: float) -> L | None:
    """The row, held by this worker for `seconds`; None where another worker has it or it has ended."""
    now, token = timezone.now(), uuid4()
    claimed = (
        model._default_manager.filter(pk=pk, attempt__lt=F("attempt_limit"), cancel_requested=False)
        .filter(Q(state=Leased.State.QUEUED) | Q(state=Leased.State.RUNNING, lease_until__lt=now))
        .update(
            state=Leased.State.RUNNING,
            token=token,
            attempt=F("attempt") + 1,
            lease_until=now + timedelta(seconds=seconds),
            started_at=Coalesce(F("started_at"), Now()),
        )
    )
    # Another worker got there first, or a person cancelled it.
    return model._default_manager.get(pk=pk) if claimed else None


def renew(*, row: Leased, seconds: float, **progress: object) -> Held:
    """The heartbeat: prolongs the lease, writes progress, and says whether to go on."""
    held = (
        type(row)
        ._default_manager.filter(pk=row.pk, token=row.token, state=Leased.State.RUNNING)
        .update(lease_until=timezone.now() + timedelta(seconds=seconds), **progress)
    )
    if not held:
        return Held.LOST
    row.refresh_from_db(fields=["cancel_requested"])
    return Held.CANCEL if row.cancel_requested else Held.YES


def finish(*, row: Leased, state: Any, error: str = "", **fields: object) -> bool:
    """Ends the row if this worker still holds it; False where it was taken over meanwhile."""
    return bool(
        type(row)
        ._default_manager.filter(pk=row.pk, token=row.token, state=Leased.State.RUNNING)
        .update(state=state, error=error, finished_at=timezone.now(), token=None, lease_until=None, **fields)
    )


def give_back(*, row: Leased, another: bool = False) -> bool:
    """Queues the row again: this worker has to stop, the work has not ended. `another`: one more attempt is allowed."""
    return bool(
        type(row)
        ._default_manager.filter(pk=row.pk, token=row.token, state=Leased.State.RUNNING)
        .update(
            state=Leased.State.QUEUED,
            token=None,
            lease_until=None,
            attempt_limit=F("attempt_limit") + int(another),
            enqueued_at=timezone.now(),
        )
    )


def request_cancel(*, row: Leased) -> bool:
    """Cancels a queued row at once and asks the worker of a running one to stop; False where it had ended."""
    rows = type(row)._default_manager.filter(pk=row.pk)
    now = timezone.now()
    if rows.filter(state=Leased.State.QUEUED).update(
        state=Leased.State.CANCELLED, cancel_requested=True, finished_at=now
    ):
        return True
    return bool(rows.filter(state=Leased.State.RUNNING).update(cancel_requested=True))


def requeue(*, row: Leased) -> bool:
    """Puts a failed or cancelled row back in the queue, for as many attempts as a new one; False for any other."""
    return bool(
        type(row)
        ._default_manager.filter(pk=row.pk, state__in=[Leased.State.FAILED, Leased.State.CANCELLED])
        .update(
            state=Leased.State.QUEUED,
            error="",
            cancel_requested=False,
            finished_at=None,
            attempt_limit=F("attempt") + MAX_ATTEMPTS,
            enqueued_at=timezone.now(),
        )
    )


def reap(*, model: type[L], resend_after: float = 30.0) -> list[UUID]:
    """Ends what nobody may try again, and returns the rows that need a message.

    A row needs one when its lease has expired (its worker died), or when it has waited so long that its message may be
    lost (the broker keeps nothing over a restart). A second message for the same row is harmless: only one claims it.
    """
    now = timezone.now()
    rows = model._default_manager.all()
    expired = Q(state=Leased.State.RUNNING, lease_until__lt=now)
    rows.filter(expired, cancel_requested=True).update(
        state=Leased.State.CANCELLED, token=None, lease_until=None, finished_at=now
    )
    rows.filter(expired, attempt__gte=F("attempt_limit")).update(
        state=Leased.State.FAILED,
        token=None,
        lease_until=None,
        finished_at=now,
        error="Its worker stopped without a word at every attempt; look at the worker's log, then resume it.",
    )
    stale = Q(enqueued_at__lt=now - timedelta(seconds=resend_after))
    waiting = Q(state=Leased.State.QUEUED) & stale
    if rows.filter(state=Leased.State.RUNNING, lease_until__gte=now).exists():
        waiting &= Q(pk__in=[])  # the workers are alive and busy: its message waits in the queue
    abandoned = expired & (stale | Q(enqueued_at__lt=F("lease_until")))
    found = []
    for pk in rows.filter(waiting | abandoned).values_list("pk", flat=True):
        # Two reapers: the one whose UPDATE counts sends the message.
        if rows.filter(waiting | abandoned, pk=pk).update(enqueued_at=now):
            found.append(pk)
    return found
