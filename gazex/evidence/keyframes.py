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
from gazex.evidence.folder import MAX_PIXELS

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
    """A radiograph (DICOM, PNG, JPEG) as gray levels [rows, columns], bright where dense.

    Raises
    ------
    ValueError
        No such file, no image, or one of more pixels than readings are taken for.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no image {path}.")
    return _dicom(path) if path.suffix.lower() in {".dcm", ".dicom", ""} else _picture(path)


def _picture(path: Path) -> NDArray[np.unsignedinteger]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{path.name} has {image.width} × {image.height} pixels; that is no radiograph.")
            if image.mode in {"I;16", "I;16B", "I"}:
                return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
            return np.asarray(image.convert("L"))
    except Image.DecompressionBombError:
        raise ValueError(f"{path.name} has more than {MAX_PIXELS} pixels; that is no radiograph.") from None
    except OSError as error:
        raise ValueError(f"{path.name} is not an image that can be read: {error}.") from None


def _dicom(path: Path) -> NDArray[np.unsignedinteger]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        ds = pydicom.dcmread(path)
        if int(ds.Rows) * int(ds.Columns) > MAX_PIXELS:
            raise ValueError(f"{path.name} has {ds.Columns} × {ds.Rows} pixels; that is no radiograph.")
        pixels = np.asarray(ds.pixel_array).astype(np.int64)
    except (InvalidDicomError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path.name} is not a DICOM image that can be read: {error}.") from None
    if pixels.ndim != 2:
        raise ValueError(f"{path.name} is not one grayscale image.")
    pixels = pixels - pixels.min()
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return np.clip(pixels, 0, 65535).astype(np.uint16)


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
