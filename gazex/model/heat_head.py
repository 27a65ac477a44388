"""Gaze heat: where a radiologist would look for each finding, read off the visual tokens (dense FVP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

POSITIVE_WEIGHT: Final = 4.0


class HeatHead(nn.Module):
    """A linear map from each visual token to `cells` × `cells` heat logits a finding."""

    def __init__(self, hidden: int, findings: int, cells: int) -> None:
        super().__init__()
        self.findings, self.cells = findings, cells
        self.linear = nn.Linear(hidden, findings * cells * cells)
        nn.init.constant_(self.linear.bias, -3.0)  # most places are not looked at

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Visual tokens [height·width, hidden] of one image → logits [findings, height·cells, width·cells]."""
        c = self.cells
        out = self.linear(tokens).reshape(height, width, self.findings, c, c)
        return out.permute(2, 0, 3, 1, 4).reshape(self.findings, height * c, width * c)


def heat_loss(logits: Sequence[Tensor], target: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
    """Binary cross-entropy of heat maps, positives weighted by 4, mean over the known maps of a batch.

    Parameters
    ----------
    logits, target
        For each image [findings, h, w]; target 0–1.
    known
        For each image [findings], 1 where the map of that finding is known.
    """
    weight = torch.tensor(POSITIVE_WEIGHT, device=logits[0].device)
    total, count = logits[0].new_zeros(()), logits[0].new_zeros(())
    for map_logits, map_target, map_known in zip(logits, target, known, strict=True):
        wanted, mask = map_target.to(weight.device), map_known.to(weight.device)
        each = binary_cross_entropy_with_logits(map_logits, wanted, pos_weight=weight, reduction="none").mean((1, 2))
        total, count = total + (each * mask).sum(), count + mask.sum()
    return total / count.clamp(min=1)
