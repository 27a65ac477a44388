"""Outputs of a model, computed before a study opens: checked strictly, stored for good."""

from __future__ import annotations

import json
import logging
import math
import re
from typing import Any

from django.db import IntegrityError, transaction

from gazex.findings import FINDINGS, SIDES
from study import registries
from study.models import AssistanceOutput, Image

from .answers import within
from .errors import BadInput

logger = logging.getLogger(__name__)
SCHEMA = "gazeroom.evidence/1"
_KEYS = {"schema", "model_sha256", "prompt_version", "rows", "columns", "report", "findings", "trajectory"}


def store_output(
    *, image: Image, model_sha256: str, prompt_version: str, evidence: dict[str, Any] | None, raw: str = ""
) -> AssistanceOutput:
    """Keep what the model said of this image. The first output of a model and prompt stands; asking again returns it.

    Parameters
    ----------
    evidence
        gazeroom.evidence/1, or None where the model's text did not parse. Evidence that breaks the schema is kept as
        an invalid output, with the text in `raw`, and never shown: look at `.valid`.

    Raises
    ------
    BadInput
        Where the model's hash or the prompt's version is not one.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", model_sha256):
        raise BadInput(f"{model_sha256[:70]!r} is not the SHA-256 of a model's weights.")
    if not 0 < len(prompt_version) <= 32:
        raise BadInput("The prompt's version needs 1 to 32 characters.")
    named = {"image": image, "model_sha256": model_sha256, "prompt_version": prompt_version}
    existing = AssistanceOutput.objects.filter(**named).first()
    if existing is not None:
        return existing
    valid = False
    if evidence is not None:
        try:
            check_evidence(evidence, rows=image.rows, columns=image.columns)
            if (evidence["model_sha256"], evidence["prompt_version"]) != (model_sha256, prompt_version):
                raise BadInput("The evidence names another model or prompt than the one it is stored for.")
            valid = True
        except BadInput as problem:
            logger.warning("output kept as invalid", extra={"image": str(image.pk), "problem": problem.sentence})
            raw = raw or json.dumps(evidence, default=str)
    try:
        with transaction.atomic():
            return AssistanceOutput.objects.create(
                **named,
                case_id=image.case_id,
                valid=valid,
                evidence=evidence if valid else {},
                raw=raw.replace("\x00", ""),
            )
    except IntegrityError:  # another process stored it first
        return AssistanceOutput.objects.get(**named)


def output_for(*, image: Image, model_sha256: str | None) -> AssistanceOutput | None:
    """The valid output a study shows for this image: the first that was stored, so that a later one changes nothing."""
    if model_sha256 is None:
        return None
    return (
        AssistanceOutput.objects.filter(image=image, model_sha256=model_sha256, valid=True)
        .order_by("created_at", "id")
        .first()
    )


def caveats_of(model_sha256: str | None) -> list[str]:
    """What whoever reads with this model, or looks at its answers, must know of it, in few words each."""
    return [said for caveat in registries.model_caveats if (said := caveat(model_sha256))] if model_sha256 else []


def check_evidence(evidence: Any, *, rows: int, columns: int) -> None:
    """Refuse evidence that is not gazeroom.evidence/1 of an image of this size.

    Raises
    ------
    BadInput
        With one sentence about the first thing that is wrong.
    """
    if not isinstance(evidence, dict) or set(evidence) != _KEYS:
        raise BadInput(f"Evidence has exactly the keys {', '.join(sorted(_KEYS))}.")
    if evidence["schema"] != SCHEMA:
        raise BadInput(f"The evidence's schema is {evidence['schema']!r}, not {SCHEMA!r}.")
    if (evidence["rows"], evidence["columns"]) != (rows, columns):
        raise BadInput(f"The evidence is of an image of another size than {rows} x {columns}.")
    for name in ("report", "findings", "trajectory"):
        if not isinstance(evidence[name], list) or not all(isinstance(item, dict) for item in evidence[name]):
            raise BadInput(f"The evidence's {name} is not a list of objects.")
    for item in evidence["report"]:
        _check_sentence(item, rows, columns)
    seen = set()
    for item in evidence["findings"]:
        if set(item) != {"finding", "probability"} or item["finding"] not in FINDINGS:
            raise BadInput("Each of the evidence's findings has a known finding and a probability.")
        if item["finding"] in seen:
            raise BadInput(f"The evidence names {item['finding']} twice.")
        seen.add(item["finding"])
        if not _finite(item["probability"]) or not 0 <= item["probability"] <= 1:
            raise BadInput(f"The probability of {item['finding']} does not lie between 0 and 1.")
    for item in evidence["trajectory"]:
        if set(item) != {"x", "y", "duration_ms"} or not all(map(_finite, item.values())):
            raise BadInput("Each step of the trajectory has a finite x, y and duration_ms.")
        if not within(item["x"], item["y"], rows, columns) or item["duration_ms"] <= 0:
            raise BadInput("A step of the trajectory lies outside the image or lasts no time.")


def _check_sentence(item: dict[str, Any], rows: int, columns: int) -> None:
    if set(item) != {"sentence", "finding", "side", "box", "verified"}:
        raise BadInput("Each sentence of the evidence has a sentence, finding, side, box and verified.")
    if not isinstance(item["sentence"], str) or not 0 < len(item["sentence"]) <= 2000:
        raise BadInput("A sentence of the evidence is empty or longer than 2000 characters.")
    if item["finding"] is not None and item["finding"] not in FINDINGS:
        raise BadInput(f"The evidence names {item['finding']!r}, which is not a known finding.")
    if item["side"] not in SIDES:
        raise BadInput(f"The evidence names the side {item['side']!r}; it is left, right, bilateral or empty.")
    if not isinstance(item["verified"], bool):
        raise BadInput("verified is true or false.")
    box = item["box"]
    if box is None:
        return
    if not isinstance(box, list) or len(box) != 4 or not all(map(_finite, box)):
        raise BadInput("A box of the evidence is not four finite numbers.")
    if not (box[0] < box[2] and box[1] < box[3]):
        raise BadInput("A box of the evidence has no area.")
    if not (within(box[0], box[1], rows, columns) and within(box[2], box[3], rows, columns)):
        raise BadInput("A box of the evidence lies outside the image.")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
