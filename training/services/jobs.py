"""What a page asks for and a cpu worker does: releases, answers, the base model's registration."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from study.models import Image, Study
from study.services.errors import Refused
from training.models import Job, ModelVersion

from . import leases
from .leases import Held

logger = logging.getLogger(__name__)

SOFT_LIMIT_S = 6 * 3600
#: Renewed with every image or read that is done; long enough to load a large model first.
LEASE_S = 180.0


class CancelledError(Exception):
    """The person who asked for it does not want it any more, or another worker has it."""


def request(
    *,
    kind: Any,
    actor: Any,
    name: str = "",
    version: ModelVersion | None = None,
    image: Image | None = None,
    study: Study | None = None,
) -> Job:
    """Queues a job; a worker starts on it once the transaction is committed."""
    from training.tasks import work_on_job

    with transaction.atomic():
        job = Job(kind=kind, requested_by=actor, name=name, version=version, image=image, study=study)
        job.full_clean()
        job.save()
        work_on_job.delay_on_commit(job_id=str(job.id))
    return job


def work(*, job_id: UUID | str) -> None:
    """One worker's attempt at a job."""
    job = leases.claim(model=Job, pk=UUID(str(job_id)), seconds=LEASE_S)
    if job is None:
        return

    def progress(done: int, total: int) -> None:
        if leases.renew(row=job, seconds=LEASE_S, done=done, total=total) is not Held.YES:
            raise CancelledError

    try:
        leases.finish(row=job, state=Job.State.SUCCEEDED, **_do(job, progress))
    except CancelledError:
        leases.finish(row=job, state=Job.State.CANCELLED)
    except Refused as refused:
        leases.finish(row=job, state=Job.State.FAILED, error=refused.sentence)
    except SoftTimeLimitExceeded:
        leases.finish(row=job, state=Job.State.FAILED, error=f"It took longer than {SOFT_LIMIT_S // 3600} hours.")
    except Exception as error:
        logger.exception("job failed", extra={"job": str(job.id), "kind": job.kind})
        leases.finish(
            row=job,
            state=Job.State.FAILED,
            error=f"{job} stopped on {type(error).__name__}: {error}; see the worker's log.",
        )


def _do(job: Job, progress: Any) -> dict[str, Any]:
    from . import assisting, releasing
    from . import models as versions

    if job.kind == Job.Kind.RELEASE:
        release = releasing.build_release(
            name=job.name, actor=job.requested_by, user=job.requested_by, progress=progress
        )
        return {"release": release}
    if job.kind == Job.Kind.REGISTER:
        return {"version": versions.register_base(actor=job.requested_by)}
    assert job.version is not None
    if job.kind == Job.Kind.ANSWER:
        assert job.image is not None
        return {"output": assisting.answer(image=job.image, version=job.version)}
    assert job.study is not None
    assisting.precompute(study=job.study, model_version=job.version, actor=job.requested_by, progress=progress)
    return {}
