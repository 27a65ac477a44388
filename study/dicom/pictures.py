"""PNG and JPEG radiographs. They carry no view, patient or spacing: a sidecar says those."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from study.dicom import voi as vois
from study.dicom.decoding import Decoded
from study.dicom.errors import FileRefused
from study.dicom.limits import MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE

_SIGNATURES: Final = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}


def picture_format(head: bytes) -> str | None:
    """ "PNG" or "JPEG" by a file's first bytes; None for anything else."""
    return next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)


def read_picture(path: Path) -> Decoded:
    """Read one greyscale picture, 8 or 16 bit; an RGB picture whose channels are equal counts as greyscale.

    The kept file is a PNG of the pixels alone: no EXIF, comment or text chunk survives. `patient` and `examination`
    are empty; whoever knows the sidecar fills them in.

    Raises
    ------
    FileRefused
        Whatever is wrong with the file, as a predicate.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _pixels(path)
    except FileRefused:
        raise
    except MemoryError:
        raise FileRefused("needs more memory to open than a radiograph may; it is damaged or hostile.") from None
    except Exception as error:  # Pillow's plugins raise whatever their parsers trip over
        raise FileRefused(
            f"is damaged and cannot be decoded ({type(error).__name__}); copy or export it again."
        ) from error
    wide = pixels.dtype == np.uint16
    frame = pixels.astype(np.uint16)
    if wide:
        default = vois.from_percentiles(np.bincount(frame.ravel(), minlength=65536))
    else:  # display-ready: every grey level as it is
        default = {"type": "window", "center": 128.0, "width": 256.0, "function": "LINEAR"}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return Decoded(
        frame=frame,
        source=buffer.getvalue(),
        inverted=False,
        voi=[default],
        spacing_mm=None,
        view="",
        patient="",
        examination="",
        attributes={"BitsStored": 16 if wide else 8, "PhotometricInterpretation": "MONOCHROME2"},
    )


def _pixels(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise FileRefused(f"is {size / 2**20:.0f} MB; a radiograph may have {MAX_FILE_BYTES // 2**20} MB.")
    Image.MAX_IMAGE_PIXELS = None  # our own bound, below, is checked before anything is decoded
    with Image.open(path, formats=["PNG", "JPEG"]) as image:
        width, height = image.size
        if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
            raise FileRefused(
                f"claims {height} × {width} pixels; a radiograph may have {MAX_SIDE} a side and "
                f"{MAX_PIXELS // 10**6} million."
            )
        if getattr(image, "n_frames", 1) > 1:
            raise FileRefused("is an animation; import single radiographs, one file each.")
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode in {"L", "1"}:
        return np.asarray(upright.convert("L"))
    if upright.mode.startswith("I"):
        values = np.asarray(upright)
        if values.min() < 0 or values.max() > 65535:
            raise FileRefused("has more than 16 bits a pixel; save it with 8 or 16.")
        return values.astype(np.uint16)
    if upright.mode in {"RGB", "RGBA", "P", "LA"}:
        channels = np.asarray(upright.convert("RGB"))
        if (channels[..., 0] == channels[..., 1]).all() and (channels[..., 1] == channels[..., 2]).all():
            return np.ascontiguousarray(channels[..., 0])
    raise FileRefused("is a colour picture; save the radiograph as greyscale and import that.")
