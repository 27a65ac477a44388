"""One radiograph from a DICOM, PNG or JPEG file, as gray levels. No torch.

The header is read first: what cannot be a radiograph is refused before its pixels take any memory.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS: Final = 100_000_000
MOST_UNEQUAL: Final = 10.0
"""Largest ratio of the spacings of rows and columns that is taken for true."""
_GRAY: Final = ("L", "I", "I;16", "I;16B")
_UNREADABLE: Final = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError)
"""What pydicom and its decoders raise beside ValueError and struct.error for a file that is damaged."""

Pixels = NDArray[np.unsignedinteger]


class ImageError(ValueError):
    """A file is no radiograph that can be read; the message names it and says why."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """Gray levels [rows, columns], uint8 or uint16, bright where dense; mm between rows and columns, where told."""

    pixels: Pixels
    spacing: tuple[float, float] | None = None


def read_radiograph(path: Path | str, *, gray_colours: bool = False) -> Radiograph:
    """Read a DICOM file, known by its "DICM" or by a name in .dcm, .dicom or no suffix, or else a PNG or JPEG.

    Parameters
    ----------
    path
        The file.
    gray_colours
        Also read pictures in colour whose three channels are the same.

    Raises
    ------
    ImageError
        No such file, no image, no grayscale image, or one of over 100 million pixels.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name an image in it.")
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        raise ImageError(f"There is no image {path}.") from None
    except OSError as error:
        raise ImageError(f"The image {path} cannot be opened: {error.strerror}.") from None
    if not head:
        raise ImageError(f"{path.name} is not an image: the file is empty; copy it again.")
    if head[128:] == b"DICM":
        return _dicom(path)
    if path.suffix.lower() in {".dcm", ".dicom", ""}:
        raise ImageError(f"{path.name} is not a DICOM image: it does not begin as one; give a DICOM file or a PNG.")
    return Radiograph(read_picture(path, gray_colours=gray_colours))


def read_picture(path: Path | str, *, gray_colours: bool = False) -> Pixels:
    """The gray levels of a PNG or JPEG of 8 or 16 bits (see `read_radiograph`)."""
    path = Path(path)
    with _picture(path) as image:
        if gray_colours and image.mode not in _GRAY:
            colours = np.asarray(image.convert("RGB"))
            if not np.ptp(colours, axis=2).any():
                return np.ascontiguousarray(colours[..., 0])
        _check_gray(path, image.mode)
        levels = np.asarray(image)
        return levels if levels.dtype == np.uint8 else np.clip(levels, 0, 65535).astype(np.uint16)


def picture_size(path: Path | str) -> tuple[int, int]:
    """Rows and columns of a grayscale PNG or JPEG, from its header alone (see `read_radiograph`)."""
    path = Path(path)
    with _picture(path) as image:
        _check_gray(path, image.mode)
        return image.height, image.width


@contextmanager
def _picture(path: Path) -> Iterator[Any]:
    """A picture opened, of no more pixels than are read; what fails while it is open is said in one sentence."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is checked below
            opened = Image.open(path, formats=("PNG", "JPEG"))
        with opened as image:
            _check_size(path, image.width, image.height)
            yield image
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"There is no image {path}.") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{path.name} has over {MAX_PIXELS // 1_000_000} million pixels; that is no radiograph."
        ) from None
    except UnidentifiedImageError:
        raise ImageError(f"{path.name} is not an image that can be read; give a PNG, JPEG or DICOM file.") from None
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise ImageError(f"{path.name} is not an image that can be read: {_first(error)}; copy it again.") from None


def _dicom(path: Path) -> Radiograph:
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters becomes an error
            head = pydicom.dcmread(path, stop_before_pixels=True)
            if "Rows" not in head or "Columns" not in head:
                raise ImageError(f"{path.name} is not a DICOM image that can be read: it has no Rows or no Columns.")
            frames = int(head.get("NumberOfFrames") or 1)
            _check_size(path, int(head.Columns), int(head.Rows) * max(1, frames))
            if frames > 1 or int(head.get("SamplesPerPixel", 1)) != 1:
                raise ImageError(f"{path.name} is not one grayscale image; export a single frame in gray.")
            spacing = _spacing(head, path)
            pixels = np.asarray(pydicom.dcmread(path).pixel_array).astype(np.int64)
    except ImageError:
        raise
    except (*_UNREADABLE, ValueError, struct.error) as error:
        raise ImageError(
            f"{path.name} is not a DICOM image that can be read: {_first(error)}; export it again."
        ) from None
    pixels -= pixels.min()
    if head.PhotometricInterpretation == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return Radiograph(np.clip(pixels, 0, 65535).astype(np.uint16), spacing)


def _check_gray(path: Path, mode: str) -> None:
    if mode not in _GRAY:
        raise ImageError(f"{path.name} is not a grayscale image (mode {mode}); write it as 16-bit PNG in gray.")


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ImageError(f"{path.name} has {width} × {height} pixels; that is no radiograph.")


def _spacing(head: Any, path: Path) -> tuple[float, float] | None:
    if not head.get("PixelSpacing"):
        return None
    down, across = (float(v) for v in head.PixelSpacing)
    true = np.isfinite([down, across]).all() and min(down, across) > 0
    if not (true and 1 / MOST_UNEQUAL <= down / across <= MOST_UNEQUAL):
        raise ImageError(f"{path.name} says {down:g} × {across:g} mm for a pixel; correct or remove its PixelSpacing.")
    return down, across


def _first(error: BaseException) -> str:
    """The first line of what a library says, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__
