"""Key frames and the attention video: the image, dark where nobody looked (arXiv 2604.14316).

A frame is gray × (0.15 + 0.85 × map) on an image of a quarter of the size, the map shown as log(1 + value + 1e-6) over
its maximum. A sentence shows its clusters in the order of time, then its holistic map; a frame lasts one second.
Sentences without boxes have no frames.

The file is an animated PNG or WebP, by its name: both keep the gray levels as they are, play in every browser, and
Pillow writes them; MP4 would need a codec.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gazex.evidence.boxes import QUARTER, Focus
from gazex.radiograph import read_radiograph

DARKEST: Final = 0.15
FRAME_S: Final = 1.0
FORMATS: Final = {".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}

Frames = NDArray[np.uint8]


def quarter_gray(pixels: NDArray[np.unsignedinteger], step: int = QUARTER) -> Frames:
    """An image as the frames show it: the mean of each `step` × `step` pixels, uint8 [rows // step, columns // step].

    8-bit pixels keep their levels; deeper ones are spread from their smallest to their largest value.
    """
    from PIL import Image

    gray = pixels.astype(np.float32)
    if pixels.dtype != np.uint8:
        low, high = float(gray.min()), float(gray.max())
        gray = (gray - low) * (255 / (high - low) if high > low else 0)
    rows, columns = pixels.shape
    small = Image.fromarray(gray).resize((max(1, columns // step), max(1, rows // step)), Image.Resampling.BOX)
    return np.rint(np.asarray(small)).astype(np.uint8)


def read_gray(path: Path | str) -> NDArray[np.unsignedinteger]:
    """A radiograph (DICOM, PNG, JPEG) as gray levels [rows, columns], bright where dense; ValueError if it is none."""
    return read_radiograph(path, gray_colours=True).pixels


def key_frames(gray: Frames, foci: Iterable[Focus]) -> Frames:
    """Frames of maps in the order given.

    Parameters
    ----------
    gray
        The image at the size of the maps, uint8 [rows, columns] (see `quarter_gray`).
    foci
        What `gazex.evidence.boxes.foci` found.

    Returns
    -------
    array [n, rows, columns], uint8
        One frame a Focus; [0, rows, columns] where there is none.
    """
    frames = [(gray * (DARKEST + (1 - DARKEST) * focus.field.shown())).astype(np.uint8) for focus in foci]
    return np.stack(frames) if frames else np.zeros((0, *gray.shape), np.uint8)


def write_video(path: Path | str, frames: Frames, *, frame_s: float = FRAME_S) -> None:
    """Write frames [n, rows, columns] as a file that plays; it appears whole or not at all.

    Raises
    ------
    ValueError
        No frames, or a name that ends in none of .png, .apng and .webp.
    """
    from PIL import Image

    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name} must end in .png or .webp: a video is an animated PNG or WebP.")
    if not len(frames):
        raise ValueError("There is no frame to show: no sentence has gaze on the image.")
    first, *rest = (Image.fromarray(frame) for frame in frames)
    how = {"lossless": True, "quality": 50, "method": 2} if kind == "WEBP" else {}
    temporary = path.with_name(path.name + ".part")
    try:
        first.save(temporary, kind, save_all=True, append_images=rest, duration=round(1000 * frame_s), loop=0, **how)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
