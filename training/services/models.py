"""Model versions: registered by the hash of their weights, promoted by a person against the gate of their run."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from study.models import AuditEntry
from study.services import audit
from study.services.errors import Refused
from training.models import ModelVersion, Promotion, TrainingRun
from training.queries import current_version, lineage, version_with

from . import gates

logger = logging.getLogger(__name__)


def register_base(*, actor: Any = None) -> ModelVersion:
    """The version of the model that GAZEX_BASE_MODEL names: "small", a folder or a hub id. Registering twice is once.

    Raises
    ------
    Refused
        The model cannot be loaded; the sentence says why.
    """
    name = settings.GAZEX_BASE_MODEL
    sha256 = _hash(name)
    existing = version_with(sha256)
    if existing is not None:
        return existing
    folder = _folder(name)
    title = f"GazeX {name}" if name == "small" else Path(name).name
    version = ModelVersion(
        name=title if not ModelVersion.objects.filter(name=title).exists() else f"{title} {sha256[:8]}",
        weights_sha256=sha256,
        path=name,
        card=_json(folder / "card.json") if folder else {},
        # A folder may bring its evaluation; else a base is evaluated with the first run that starts from it.
        metrics=_json(folder / "metrics.json") if folder else {},
    )
    version.full_clean()
    version.save()
    logger.info("base model registered", extra={"model": version.name, "sha256": sha256})
    return version


def keep_weights(*, run: TrainingRun, model: Path) -> str:
    """The weights' SHA-256, with a copy of the folder kept under it. Slow, so never inside a transaction.

    What an attempt that was killed left behind, half a copy or a whole one, is replaced or used: keeping twice is once.
    Only the worker that holds the run's folder may call it.

    Raises
    ------
    Refused
        The model cannot be read; the sentence says why.
    """
    sha256 = _hash(str(model))
    target = _kept(sha256)
    if target.exists() and not _holds(target, sha256):
        shutil.rmtree(target)  # a crash of the machine tore it
    if not target.exists():
        partial = target.with_name(f".{target.name}-{run.pk}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model, partial)
        try:
            partial.rename(target)
        except OSError:  # another run, ending with the same weights, got there first
            if not target.exists():
                raise
            shutil.rmtree(partial)
    return sha256


def register_trained(*, run: TrainingRun, sha256: str, metrics: dict[str, Any]) -> ModelVersion:
    """Registers what a run made, its weights kept: the card with where they came from, the metrics.

    Called inside the transaction that ends the run.

    Raises
    ------
    Refused
        The weights are those of a version that is there already.
    """
    same = version_with(sha256)
    if same is not None:
        raise Refused(f"The run ended with exactly the weights of {same}; there is nothing new to register.")
    folder = _kept(sha256)
    version = ModelVersion(
        name=_next_name(),
        weights_sha256=sha256,
        path=f"models/{folder.name}",
        base=run.base,
        run=run,
        card={key: value for key, value in _json(folder / "card.json").items() if key != "init"} | _origin(run),
        metrics=metrics,
    )
    version.full_clean()
    version.save()
    return version


def promote(*, version: ModelVersion, actor: Any) -> Promotion:
    """Makes a version the one new studies start from.

    Raises
    ------
    Refused
        It is the current one, or its run's gate, written before the run, does not pass; the sentence names the check.
    """
    with transaction.atomic():
        if version == current_version():
            raise Refused(f"{version} is the promoted version already.")
        checks = gates.checks(version)
        failed = [check for check in checks if not check.passed]
        if failed:
            raise Refused(f"{version} does not pass the gate of its run: {failed[0].sentence}")
        return _promoted(version, actor, rollback=False, checks=[check.to_dict() for check in checks])


def rollback(*, actor: Any) -> Promotion:
    """Goes back to the version that was promoted before the current one.

    Raises
    ------
    Refused
        There is none to go back to.
    """
    with transaction.atomic():
        before = previous_version()
        if before is None:
            raise Refused("There is no earlier promoted version to go back to.")
        return _promoted(before, actor, rollback=True, checks=[])


def previous_version() -> ModelVersion | None:
    """What a rollback goes back to: promotions are a stack, a promotion pushes and a rollback pops."""
    stack: list[ModelVersion] = []
    for promotion in Promotion.objects.select_related("version").order_by("id"):
        if promotion.rollback:
            stack.pop()
        else:
            stack.append(promotion.version)
    return stack[-2] if len(stack) > 1 else None


def store_metrics(*, version: ModelVersion, metrics: dict[str, Any]) -> None:
    """Writes what was measured of a version; a later measurement takes its place."""
    version.metrics = metrics
    version.save(update_fields=["metrics"])


def _promoted(version: ModelVersion, actor: Any, *, rollback: bool, checks: list[dict[str, Any]]) -> Promotion:
    promotion = Promotion.objects.create(version=version, actor=actor, rollback=rollback, gate=checks)
    version.promoted_at = timezone.now()
    version.save(update_fields=["promoted_at"])
    audit.record(
        actor=actor,
        act=AuditEntry.Act.MODEL_PROMOTED,
        subject=f"ModelVersion {version.name}",
        detail={"weights_sha256": version.weights_sha256, "rollback": rollback},
    )
    return promotion


def _origin(run: TrainingRun) -> dict[str, Any]:
    release = run.release
    return {
        "base": {"name": run.base.name, "weights_sha256": run.base.weights_sha256},
        "lineage": [{"name": v.name, "weights_sha256": v.weights_sha256} for v in lineage(run.base)],
        "release": {
            "name": release.name,
            "sha256": release.sha256,
            "reads": len(release.manifest["reads"]),
            "patients": len({row["patient"] for row in release.manifest["reads"]}),
            "code_version": release.manifest["code_version"],
        },
        "run": {"id": str(run.id), "steps": run.total, "seed": run.seed, "attempts": run.attempt, "gate": run.gate},
    }


def _next_name() -> str:
    number = ModelVersion.objects.filter(run__isnull=False).count() + 1
    while ModelVersion.objects.filter(name=f"GazeX {number}").exists():
        number += 1
    return f"GazeX {number}"


def _hash(name: str) -> str:
    # Torch takes seconds to import: only what hashes weights pays for it.
    from gazex.model.config import ModelError
    from gazex.model.network import weights_sha256

    try:
        return weights_sha256(name)
    except (ModelError, OSError) as error:
        raise Refused(f"The model “{name}” cannot be read: {error}") from error


def _kept(sha256: str) -> Path:
    return Path(settings.GAZEROOM_DATA) / "models" / sha256[:12]


def _holds(folder: Path, sha256: str) -> bool:
    try:
        return _hash(str(folder)) == sha256
    except Refused:
        return False


def _folder(name: str) -> Path | None:
    from gazex.model.config import resolve

    folder = Path(resolve(name))
    return folder if folder.is_dir() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}
