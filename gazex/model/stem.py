"""Convolutions before the vision tower: they know a nodule as one wherever a patch's border runs through it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from gazex.model.processor import Grid

CELLS: Final = 2
"""Cells of a patch along each side, for each of which the stem says what it saw."""


class Stem(nn.Module):
    """What four convolutions see in each patch, to be added to its embedding, and where they would look.

    A linear patch embedding learns a detail anew for each place in a patch; convolutions before it learn it once (Xiao
    et al., Early Convolutions Help Transformers See Better, 2021). Their own heat maps, added to those of the heat
    head, teach them from the first step on.

    Parameters
    ----------
    patch, merge
        `patch_size` and `spatial_merge_size` of the vision tower.
    channels
        Values a pixel has in a patch.
    width
        Channels of the first convolution; the last has three times as many.
    hidden
        Size of a patch's embedding.
    maps
        Channels of the heat head; 0 where there is none.
    """

    def __init__(self, *, patch: int, merge: int, channels: int, width: int, hidden: int, maps: int) -> None:
        super().__init__()
        self.patch, self.merge, self.channels = patch, merge, channels
        wide = 3 * width
        self.fine = nn.ModuleList([_layer(channels, width, 5, stride=2), _layer(width, 2 * width, 3)])
        self.coarse = nn.ModuleList([_layer(2 * width, wide, 3), _layer(wide, wide, 3)])
        self.out = nn.Linear(wide * CELLS**2, hidden, bias=False)
        self.heat = nn.Conv2d(wide, maps, 1, bias=False) if maps else None

    def forward(self, patches: Tensor, grids: Sequence[Grid]) -> tuple[Tensor, list[Tensor]]:
        """What is seen in the patches of images.

        Parameters
        ----------
        patches
            [n, channels·patch²], of one image after the other, in Qwen2-VL's order.
        grids
            Each image's (frames, rows, columns) in patches.

        Returns
        -------
        tuple
            [n, hidden], and for each image heat logits [maps, 2·rows, 2·columns] of its first frame.
        """
        seen, maps, start = [], [], 0
        for (t, h, w), alike in groupby(grids):
            frames = t * len(list(alike))
            end = start + frames * h * w
            images = self._whole(patches[start:end], frames, h, w)
            for layer in self.fine:
                images = layer(images)
            images = adaptive_max_pool2d(images, (CELLS * h, CELLS * w))
            for layer in self.coarse:
                images = layer(images)
            seen.append(self._cut(images, h, w))
            maps += list(self.heat(images[::t])) if self.heat is not None else []
            start = end
        return self.out(torch.cat(seen)), maps

    def _whole(self, patches: Tensor, frames: int, h: int, w: int) -> Tensor:
        """Patches [frames·h·w, channels·patch²] as images [frames, channels, h·patch, w·patch]."""
        m, p = self.merge, self.patch
        cells = patches.reshape(frames, h // m, w // m, m, m, self.channels, p, p)
        return cells.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(frames, self.channels, h * p, w * p)

    def _cut(self, images: Tensor, h: int, w: int) -> Tensor:
        """Images [frames, c, 2·h, 2·w] as [frames·h·w, 4·c], in the order of the patches."""
        m, p = self.merge, CELLS
        frames, channels = images.shape[:2]
        cells = images.reshape(frames, channels, h // m, m, p, w // m, m, p)
        return cells.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(frames * h * w, channels * p * p)


def _layer(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(4, outputs), nn.ReLU())
