"""Stored frames: little-endian uint16, row major, zstd on disk, addressed by the SHA-256 of the uncompressed bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from study.models import Image, blob_path

from . import blobs
from .errors import Refused


def store(pixels: NDArray[Any]) -> str:
    """Keep a frame and return its SHA-256; the same frame twice is one file.

    Parameters
    ----------
    pixels
        rows x columns, values 0 to 65535 of any integer type.

    Raises
    ------
    ValueError
        Where the array is not two-dimensional or does not fit in 16 bits.
    """
    if pixels.ndim != 2:
        raise ValueError(f"A frame has rows and columns; this array has shape {pixels.shape}.")
    if pixels.size == 0 or int(pixels.min()) < 0 or int(pixels.max()) > 65535:
        raise ValueError("A frame's values lie between 0 and 65535.")
    data = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    sha256 = hashlib.sha256(data).hexdigest()
    path = blob_path("frames", sha256, ".u16.zst")
    if not path.exists():
        blobs.write(path, zstandard.ZstdCompressor(level=1).compress(data))
    return sha256


def compressed(image: Image) -> bytes:
    """The frame as it lies on disk (zstd)."""
    try:
        return image.frame_path.read_bytes()
    except FileNotFoundError as error:
        raise Refused(
            f"The stored frame of {image.case.label} is missing on the server; restore the blobs folder from its copy."
        ) from error


def plain(image: Image) -> bytes:
    """The frame's bytes, little-endian uint16, rows x columns, checked against the image's SHA-256."""
    expected = image.rows * image.columns * 2
    try:
        data = zstandard.ZstdDecompressor().decompress(compressed(image), max_output_size=expected)
    except zstandard.ZstdError as error:
        raise Refused(
            f"The stored frame of {image.case.label} cannot be decompressed; import the case again."
        ) from error
    if len(data) != expected or hashlib.sha256(data).hexdigest() != image.frame_sha256:
        raise Refused(f"The stored frame of {image.case.label} is not what was imported; import the case again.")
    return data


def pixels(image: Image) -> NDArray[np.uint16]:
    """The frame as an array, rows x columns, uint16."""
    return np.frombuffer(plain(image), dtype="<u2").reshape(image.rows, image.columns)
