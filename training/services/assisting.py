"""A model's answers to images, computed away from the request path and stored for good."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from study.models import AssistanceOutput, Image, Study
from study.queries.reading import shown_image
from study.queries.studies import protocol_of
from study.services import assistance
from study.services.errors import Refused
from training.models import ModelVersion

from .pixels import frame_for_gazex

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def precompute(
    *, study: Study, model_version: ModelVersion, actor: Any = None, progress: Progress | None = None
) -> list[AssistanceOutput]:
    """Stores the model's output for the image that is read of each of the study's cases, those that have one left out.

    Parameters
    ----------
    actor
        Unused by the outputs themselves, which name their model and not a person.
    progress
        Called with (images done, images in all).

    Returns
    -------
    list of AssistanceOutput
        One for each case, in the order of their labels; `valid` says which may be shown.
    """
    cases = [row.case for row in protocol_of(study).study_cases.select_related("case").order_by("case__label")]
    images = [image for case in cases if (image := shown_image(case)) is not None]
    outputs = []
    for done, image in enumerate(images):
        if progress is not None:
            progress(done, len(images))
        outputs.append(answer(image=image, version=model_version))
    if progress is not None:
        progress(len(images), len(images))
    logger.info(
        "outputs ready", extra={"study": study.slug, "images": len(images), "model": model_version.weights_sha256}
    )
    return outputs


def answer(*, image: Image, version: ModelVersion) -> AssistanceOutput:
    """The model's output for one image: the stored one where there is one, else computed now and stored."""
    # The prompt's version is part of the weights' hash: one model has one.
    existing = (
        AssistanceOutput.objects.filter(image=image, model_sha256=version.weights_sha256).order_by("created_at").first()
    )
    if existing is not None:
        return existing
    model = load(version)
    spacing = (
        (image.row_spacing_mm, image.column_spacing_mm) if image.row_spacing_mm and image.column_spacing_mm else None
    )
    said = model.read(frame_for_gazex(image), pixel_spacing=spacing).to_dict()
    # How each part was come by; an output whose report did not parse is kept as invalid, never repaired.
    status = said.pop("status", {})
    return assistance.store_output(
        image=image,
        model_sha256=said["model_sha256"],
        prompt_version=said["prompt_version"],
        evidence=said if status.get("report", "ok") == "ok" else None,
        raw=json.dumps(
            {"status": status, "evidence": said} if status.get("report", "ok") != "ok" else {"status": status}
        ),
    )


def load(version: ModelVersion) -> Any:
    """The model of this version, kept in the worker's memory; refused where its weights are not the registered ones."""
    model = _load(version.location)
    if model.weights_sha256 != version.weights_sha256:
        _load.cache_clear()
        raise Refused(
            f"The weights at {version.path} are not those {version} was registered with; restore them from a copy."
        )
    return model


@lru_cache(maxsize=1)
def _load(location: str) -> Any:
    # Torch takes seconds to import: only a worker that answers pays for it.
    from gazex.infer import GazeX

    return GazeX.load(location)
