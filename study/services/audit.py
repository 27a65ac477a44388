"""The one way into the audit trail."""

from __future__ import annotations

from typing import Any

from study.models import AuditEntry, User


def record(*, actor: User | None, act: str, subject: str, detail: dict[str, Any] | None = None) -> AuditEntry:
    """Write who did what to what. Call it inside the transaction that does it: neither exists without the other.

    Parameters
    ----------
    actor
        The person; None for the system itself (a command, a task).
    subject
        "Read 4f…", "Study lung-ct": at most 120 characters, longer ones are cut.
    """
    return AuditEntry.objects.create(actor=actor, act=act, subject=subject[:120], detail=detail or {})
