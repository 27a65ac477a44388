"""Gradients of one batch, worked out by several processes: each takes its share of the images.

The networks this is for are so small that torch's threads hardly help (two of them made a step 1.2 times as fast); two
processes do. The parameters lie in memory that all of them see, so only numbers of steps and losses are sent.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

Work = Callable[[int, int], tuple[float, dict[str, float]]]
"""`work(step, share)` leaves a share's part of the gradients in the parameters and returns its part of the loss."""
_FAILED: Final = "failed"
log = logging.getLogger(__name__)


def split(count: int, shares: int) -> list[slice]:
    """Which of `count` images each share gets: the first, whose process also makes the step, a quarter fewer."""
    first = count if shares == 1 else min(count, max(1, round(0.75 * count / shares)))
    ends = [first + (count - first) * k // max(1, shares - 1) for k in range(shares)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class SharesError(RuntimeError):
    """A process that worked on a share has died or failed."""


class Shares:
    """The other processes, from entering to leaving the context; with one share there is none.

    Parameters
    ----------
    network
        On the CPU. Its parameters are moved to shared memory where there is more than one share.
    work
        See `Work`; called with share 0 here and with the others there. Its noise must follow from the two numbers.
    shares
        Number of shares. Gradients and losses are their sums.
    """

    def __init__(self, network: nn.Module, work: Work, shares: int) -> None:
        self.work, self.shares = work, shares
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self._network = network
        self._over = False
        self._gradients: list[list[Tensor]] = []
        self._pipes: list[Any] = []
        self._processes: list[Any] = []

    def __enter__(self) -> Self:
        if self.shares > 1:
            self._threads = torch.get_num_threads()
            torch.set_num_threads(1)
            self._network.share_memory()
            context = get_context("fork")
            for share in range(1, self.shares):
                here, there = context.Pipe()
                gradients = [torch.zeros_like(p).share_memory_() for p in self.parameters]
                process = context.Process(target=self._serve, args=(share, gradients, here, there), daemon=True)
                process.start()
                there.close()
                self._gradients.append(gradients)
                self._pipes.append(here)
                self._processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # which ends the process behind it, once its share is done
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()
        if self.shares > 1:
            torch.set_num_threads(self._threads)

    def gradients(self, step: int) -> tuple[float, dict[str, float]]:
        """Leave the whole batch's gradients in the parameters; the loss and what it is made of.

        Raises
        ------
        SharesError
            A share failed or its process died, now or at an earlier step: leave the context.
        """
        if self._over:
            raise SharesError("A share has failed; no step follows.")
        self._over = True
        for parameter in self.parameters:
            parameter.grad = None
        try:
            for pipe in self._pipes:
                pipe.send(step)
            answers = [self.work(step, 0), *(pipe.recv() for pipe in self._pipes)]
        except (EOFError, ConnectionError):
            raise SharesError("A process that shared the training has died; run the same command again.") from None
        for answer in answers:
            if answer[0] == _FAILED:
                raise SharesError(answer[1])
        self._over = False
        for k, parameter in enumerate(self.parameters):
            for gradients in self._gradients:
                parameter.grad = gradients[k].clone() if parameter.grad is None else parameter.grad.add_(gradients[k])
        parts: dict[str, float] = {}
        for _, some in answers:
            for name, value in some.items():
                parts[name] = parts.get(name, 0.0) + value
        return sum(one for one, _ in answers), parts

    def _serve(self, share: int, gradients: list[Tensor], here: Any, there: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # the first process decides when to stop
            signal.signal(number, signal.SIG_IGN)
        for pipe in (here, *self._pipes):  # left open here, they would hide that the first process has gone
            pipe.close()
        try:
            while True:
                there.send(self._answer(there.recv(), share, gradients))
        except (EOFError, OSError):
            return

    def _answer(self, step: int, share: int, gradients: list[Tensor]) -> tuple[Any, Any]:
        for parameter in self.parameters:
            parameter.grad = None
        try:
            answer = self.work(step, share)
        except ValueError as error:  # a sentence for a person
            return _FAILED, str(error)
        except Exception as error:
            log.exception("Share %d of step %d failed", share, step)
            return _FAILED, f"{type(error).__name__}: {error}"
        for parameter, shared in zip(self.parameters, gradients, strict=True):
            shared.zero_() if parameter.grad is None else shared.copy_(parameter.grad)
        return answer
