"""From pixels and text to the tensors Qwen2-VL takes. No torchvision.

Qwen2-VL cuts an image into patches of `patch_size`, ordered so that the `merge_size` × `merge_size` patches of one
visual token are neighbours; two frames are fused into one temporal patch, so a single image is given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from gazex.model.config import GazeXConfig, ModelError

MAX_SIDE: Final = 16_384
DETAILS: Final = ((0.0, 0.05), (0.012, 0.03))
"""SDs of the two Gaussians of `local_contrast`, as shares of the image's height: for dots and lines; for nodules."""
Grid = tuple[int, int, int]


def window_level(pixels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Pixels as 0–1 between their 0.5th and 99.5th percentile: exposure and bit depth drop out.

    Raises
    ------
    ModelError
        Not a two-dimensional image, or one too large to read.
    """
    if pixels.ndim != 2 or min(pixels.shape) < 8:
        raise ModelError(f"GazeX reads grayscale images of at least 8×8 pixels; this one has shape {pixels.shape}.")
    if max(pixels.shape) > MAX_SIDE:
        raise ModelError(
            f"The image has {pixels.shape[0]}×{pixels.shape[1]} pixels; GazeX reads up to {MAX_SIDE} a side."
        )
    step = max(1, min(pixels.shape) // 512)
    low, high = np.percentile(pixels[::step, ::step], [0.5, 99.5])
    span = max(float(high - low), 1.0)
    return np.clip((pixels.astype(np.float32) - np.float32(low)) / np.float32(span), 0, 1)


def resize(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Area-averaging where the image shrinks, bicubic where it grows; float32 [rows, columns]."""
    shrinks = image.shape[0] >= rows and image.shape[1] >= columns
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((columns, rows), method), np.float32)


def local_contrast(image: NDArray[np.float32], inner: float, outer: float) -> NDArray[np.float32]:
    """What stands out from its surroundings, in SDs of these, within ±3: a difference of Gaussians.

    The SDs of the two Gaussians are shares of the image's height. Smoothed by the inner one, what lies at the edge of a
    patch is seen by the next patch too.
    """
    small, large = inner * image.shape[0], outer * image.shape[0]
    fine = gaussian_filter(image, small, mode="nearest", truncate=2.0) if inner else image
    difference = fine - gaussian_filter(fine, large, mode="nearest", truncate=2.0)
    spread = np.sqrt(gaussian_filter(difference**2, large, mode="nearest", truncate=2.0))
    return np.clip(difference / (spread + np.float32(0.02)), -3, 3)


def dots(image: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """What is bright and shorter than `length` pixels in every direction: ribs, vessels and edges go, dots stay.

    A top-hat: the image less the largest of its openings by lines (Soille, Morphological Image Analysis, 2003, ch. 4).
    """
    margin = 2 * length
    padded = np.pad(image, margin, mode="edge")
    kept: NDArray[np.float32] | None = None
    for dy, dx in _DIRECTIONS:
        count = -(-length // max(abs(dy), abs(dx)))
        eroded = _along(padded, dy, dx, count, np.minimum)
        opened = _along(eroded, -dy, -dx, count, np.maximum)
        kept = opened if kept is None else np.maximum(kept, opened)
    assert kept is not None
    return (padded - kept)[margin:-margin, margin:-margin]


_DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (-1, 1), (1, 2), (-1, 2), (2, 1), (-2, 1))


def _along(
    image: NDArray[np.float32], dy: int, dx: int, count: int, pick: Callable[..., NDArray[np.float32]]
) -> NDArray[np.float32]:
    """`pick` of `count` pixels from each on, (dy, dx) apart, by doubling."""
    have = 1
    while have < count:
        step = min(have, count - have)
        image = pick(image, np.roll(image, (-step * dy, -step * dx), (0, 1)))
        have += step
    return image


def conspicuity(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of a dot there is about each pixel, 0 to 6: alike wherever in a patch the dot lies.

    That a linear patch embedding cannot work out by itself. Near the local maximum of `dots`: the root of a local mean
    (Gaussian, SD 1.5 % of the height) of their third power; 4 % of the brightness range are 1.
    """
    height = image.shape[0]
    smooth = gaussian_filter(image, 0.004 * height, mode="nearest", truncate=2.0)
    spots = dots(smooth, max(3, round(0.08 * height))) / np.float32(0.04)
    return np.minimum(np.cbrt(gaussian_filter(spots**3, 0.015 * height, mode="nearest", truncate=2.0)), 6)


def smart_size(rows: int, columns: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Qwen2-VL's choice of size: multiples of `factor`, aspect ratio kept, pixel count within the two bounds."""
    h, w = max(factor, round(rows / factor) * factor), max(factor, round(columns / factor) * factor)
    if h * w > max_pixels:
        beta = (rows * columns / max_pixels) ** 0.5
        h = max(factor, int(rows / beta // factor) * factor)
        w = max(factor, int(columns / beta // factor) * factor)
    elif h * w < min_pixels:
        beta = (min_pixels / (rows * columns)) ** 0.5
        h, w = int(-(-rows * beta // factor)) * factor, int(-(-columns * beta // factor)) * factor
    return h, w


class Processor:
    """Text and image preparation for one model.

    Parameters
    ----------
    tokenizer
        A Qwen2 tokenizer with Qwen2-VL's special tokens and a chat template.
    config
        Sizes and normalisation.
    patch, merge, temporal
        `patch_size`, `spatial_merge_size` and `temporal_patch_size` of the model's vision tower.
    """

    def __init__(self, tokenizer: Any, config: GazeXConfig, *, patch: int, merge: int, temporal: int) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.patch, self.merge, self.temporal = patch, merge, temporal
        size, unit = config.image_size, patch * merge
        if size is not None and not (len(size) == 2 and all(type(n) is int and n > 0 and n % unit == 0 for n in size)):
            raise ModelError(f"The model's image size is {size}; rows and columns must be multiples of {unit} pixels.")
        if any(len(values) not in {1, 3} for values in (config.image_mean, config.image_std)):
            raise ModelError("The model's image mean and standard deviation must each be one number or three.")
        self.mean = np.broadcast_to(np.array(config.image_mean, np.float32), (3,))
        self.std = np.broadcast_to(np.array(config.image_std, np.float32), (3,))
        self._grids: dict[Grid, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._prompts: dict[tuple[str, str, int], list[int]] = {}

    def prepare(self, pixels: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Window-level and resize to what the model sees: float32 [rows, columns], 0–1."""
        image = window_level(pixels)
        if self.config.image_size is not None:
            return resize(image, *self.config.image_size)
        size = smart_size(
            image.shape[0], image.shape[1], self.patch * self.merge, self.config.min_pixels, self.config.max_pixels
        )
        return resize(image, *size)

    def patchify(self, frames: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, Grid]:
        """Frames [rows, columns], 0–1, as patches; each frame owns one temporal patch (it is given `temporal` times).

        Returns
        -------
        tuple
            float32 [T·h·w, 3·temporal·patch²] and the grid (T, h, w) in patches.
        """
        stack = np.stack(frames).astype(np.float32)
        t, rows, columns = stack.shape
        p, m = self.patch, self.merge
        h, w = rows // p, columns // p
        if rows % (p * m) or columns % (p * m):
            raise ModelError(f"A prepared image of {rows}×{columns} pixels is not a multiple of {p * m}.")
        cells = self._cells(stack)
        coloured = (cells - self.mean[None, :, None, None]) / self.std[None, :, None, None]
        slices = [coloured] * self.temporal
        if self.config.inputs == "detail":
            fine, coarse = ([local_contrast(frame, *sds) for frame in stack] for sds in DETAILS)
            first, second = (self._cells(np.stack(d)) for d in (fine, coarse))
            spots = self._cells(np.stack([conspicuity(frame) for frame in stack]))
            x, y = self._places(t, rows, columns)
            kinds = np.concatenate([coloured[:, :1], first, x], axis=1), np.concatenate([spots, second, y], axis=1)
            slices = [kinds[k % 2] for k in range(self.temporal)]
        patches = np.stack(slices, axis=2).reshape(t * h * w, -1)
        return torch.from_numpy(np.ascontiguousarray(patches)), (t, h, w)

    def key_frames(self, image: NDArray[np.float32], boxes: Sequence[Sequence[float]]) -> tuple[torch.Tensor, Grid]:
        """Key frames of a reading, at half the size of the prepared image: dark except about a box.

        Parameters
        ----------
        image
            float32 [rows, columns], as `prepare` gives it.
        boxes
            `[x0, y0, x1, y1]` as shares of the image 0–1, one a frame; brightness falls off outside with an SD of 5 %.
        """
        unit = self.patch * self.merge
        rows, columns = (max(unit, round(n / 2 / unit) * unit) for n in image.shape)
        small = resize(image, rows, columns)
        y, x = (np.arange(rows) + 0.5)[:, None] / rows, (np.arange(columns) + 0.5)[None] / columns
        frames = []
        for x0, y0, x1, y1 in boxes:
            away = np.maximum(np.maximum(x0 - x, x - x1), 0) ** 2 + np.maximum(np.maximum(y0 - y, y - y1), 0) ** 2
            frames.append(small * (0.15 + 0.85 * np.exp(-away / (2 * 0.05**2))))
        return self.patchify(frames)

    def _cells(self, stack: NDArray[Any]) -> NDArray[np.float32]:
        """Frames [t, rows, columns] cut into patches in Qwen2-VL's order: [t·h·w, 1, patch, patch]."""
        t, rows, columns = stack.shape
        p, m = self.patch, self.merge
        h, w = rows // p, columns // p
        cells = stack.reshape(t, h // m, m, p, w // m, m, p).transpose(0, 1, 4, 2, 5, 3, 6)
        return np.asarray(cells.reshape(t * h * w, 1, p, p), np.float32)

    def _places(self, t: int, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Each pixel's place from left to right and from top to bottom, −1.5 to 1.5, each [t·h·w, 1, patch, patch]."""
        key = t, rows, columns
        if key not in self._grids:
            y, x = np.meshgrid(np.linspace(-1.5, 1.5, rows), np.linspace(-1.5, 1.5, columns), indexing="ij")
            self._grids = {key: (self._cells(np.stack([x] * t)), self._cells(np.stack([y] * t)))}
        return self._grids[key]

    def tokens_of(self, grid: Grid) -> int:
        return grid[0] * grid[1] * grid[2] // self.merge**2

    def prompt_ids(self, prompt: str, grid: Grid, kind: str = "image") -> list[int]:
        """Token ids of a user turn (image or video, then the prompt) up to where the assistant begins."""
        count = self.tokens_of(grid)
        key = prompt, kind, count
        if key not in self._prompts:
            content = [{"type": kind}, {"type": "text", "text": prompt}]
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            pad = f"<|{kind}_pad|>"
            if text.count(pad) != 1:
                raise ModelError(f"The tokenizer's chat template does not place one {pad}; use a Qwen2-VL tokenizer.")
            if len(self._prompts) > 4096:
                self._prompts.clear()
            self._prompts[key] = self.tokenizer(text.replace(pad, pad * count))["input_ids"]
        return list(self._prompts[key])

    def target_ids(self, target: str) -> list[int]:
        """Token ids of an answer with its end-of-turn token."""
        ids: list[int] = self.tokenizer(target)["input_ids"]
        return [*ids, self.end_id]

    @property
    def end_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids("<|im_end|>"))

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids("<|endoftext|>"))

    def decode(self, ids: Sequence[int]) -> str | None:
        """Text of a generated answer up to its end-of-turn token; None where that token never came (cut off)."""
        ids = list(ids)
        if self.end_id not in ids:
            return None
        return str(self.tokenizer.decode(ids[: ids.index(self.end_id)], skip_special_tokens=False)).strip()
