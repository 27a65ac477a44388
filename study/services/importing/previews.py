"""Small pictures of stored frames, as the default VOI shows them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from django.conf import settings
from PIL import Image as Picture

from study.dicom.voi import display_table
from study.models import Image
from study.services import blobs, frames

SIZES: Final = {"small": 160, "large": 720}
"""Longest side in pixels."""


def preview_png(*, image: Image, size: str) -> bytes:
    """An 8-bit PNG of an image: default VOI, MONOCHROME1 turned over, true to shape. Made once, then kept.

    Raises
    ------
    Refused
        Where the stored frame is missing or damaged.
    """
    folder = Path(settings.GAZEROOM_DATA) / "blobs" / "previews" / image.frame_sha256[:2]
    path = folder / f"{image.pk}-{size}.png"
    if path.exists():
        return path.read_bytes()
    pixels = frames.pixels(image)
    grey = display_table(image.voi[0], max(image.max_value, int(pixels.max())), inverted=image.inverted)[pixels]
    rows, columns = grey.shape
    aspect = (image.row_spacing_mm or 1.0) / (image.column_spacing_mm or 1.0)
    # In units of one column's spacing the image is `columns` wide and rows × aspect high.
    scale = SIZES[size] / max(columns, rows * aspect)
    shape = (max(1, round(columns * scale)), max(1, round(rows * aspect * scale)))
    picture = Picture.fromarray(np.ascontiguousarray(grey))
    buffer = io.BytesIO()
    picture.resize(shape, Picture.Resampling.LANCZOS, reducing_gap=2.0).save(buffer, "PNG")
    data = buffer.getvalue()
    blobs.write(path, data)
    return data
