"""Muon (Jordan 2024) in single precision.

`torch.optim.Muon` orthogonalises in bfloat16, one matrix after the other; a CPU takes about twice as long for that,
which was over a third of a step of the small model. The update is the same to bfloat16's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of Jordan's quintic Newton–Schulz iteration, five of which bring every singular value near 1."""
ITERATIONS: Final = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the orthogonal factor UVᵀ of each of [n, r, c] matrices: singular values of about 0.7 to 1.2,
    but of those that were tiny."""
    a, b, c = COEFFICIENTS
    turned = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if turned else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for matrices; a convolution's is [filters, all they see].

    Steps are scaled by 0.2·√(longer side), so that rates and decay of AdamW serve (Liu et al., arXiv 2502.16982).

    Parameters
    ----------
    matrices
        Parameters [r, c] or [filters, channels, h, w].
    lr, weight_decay
        As AdamW's.
    momentum
        Of the gradient's running mean.
    """

    def __init__(
        self, matrices: Iterable[Tensor], *, lr: float = 1e-3, weight_decay: float = 0.05, momentum: float = 0.95
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        wrong = next((p for g in self.param_groups for p in g["params"] if p.ndim < 2), None)
        if wrong is not None:
            raise ValueError(f"Muon takes matrices; a parameter has the shape {tuple(wrong.shape)}.")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                change = p.grad.lerp(mean, group["momentum"]).flatten(1)
                alike.setdefault(tuple(change.shape), []).append((p, change))
            for shape, pairs in alike.items():
                for (p, _), change in zip(pairs, orthogonal(torch.stack([u for _, u in pairs])), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(change.view_as(p), alpha=-0.2 * group["lr"] * max(shape) ** 0.5)
        return loss
