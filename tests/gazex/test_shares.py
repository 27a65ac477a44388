"""One batch worked on by several processes, and the optimizer of the small model."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

from gazex.train.muon import Muon, orthogonal
from gazex.train.shares import Shares, SharesError, split


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


DATA = torch.arange(48.0).reshape(4, 3, 4) / 48  # four steps of three rows


def _work(network: nn.Module, shares: int):
    def work(step: int, share: int) -> tuple[float, dict[str, float]]:
        loss = network(DATA[step][share::shares]).square().mean()
        loss.backward()
        return float(loss.detach()), {"squares": float(loss.detach())}

    return work


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_gradients_and_losses_are_the_sums_of_the_shares(shares: int):
    network, alone = _network(), _network()
    with Shares(network, _work(network, shares), shares) as several:
        loss, parts = several.gradients(2)
    losses = [_work(alone, shares)(2, share)[0] for share in range(shares)]
    assert loss == pytest.approx(sum(losses)) and parts == {"squares": pytest.approx(loss)}
    for p, q in zip(network.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize(("count", "shares", "sizes"), [(8, 1, [8]), (8, 2, [3, 5]), (1, 2, [1, 0]), (9, 3, [2, 3, 4])])
def test_every_image_has_one_share_and_the_first_share_is_smaller(count: int, shares: int, sizes: list[int]):
    images = list(range(count))
    parts = [images[one] for one in split(count, shares)]
    assert [len(part) for part in parts] == sizes and [k for part in parts for k in part] == images


def test_the_other_process_sees_a_step_made_by_the_first():
    network = _network()
    with Shares(network, _work(network, 2), 2) as several:
        before = several.gradients(0)[0]
        with torch.no_grad():
            for p in network.parameters():
                p.mul_(0)
        assert before > 0 and several.gradients(0)[0] == 0


def test_a_share_that_fails_says_why_and_no_step_follows():
    network = _network()
    fine = _work(network, 2)

    def work(step: int, share: int) -> tuple[float, dict[str, float]]:
        if step == 1 and share == 1:
            raise ValueError("This share has no image.")
        return fine(step, share)

    with Shares(network, work, 2) as several:
        several.gradients(0)
        with pytest.raises(SharesError, match="no image"):
            several.gradients(1)
        with pytest.raises(SharesError, match="no step follows"):
            several.gradients(2)


def test_leaving_in_the_middle_of_a_step_ends_the_other_process_without_a_word(capfd: pytest.CaptureFixture[str]):
    network = _network()
    several = Shares(network, _work(network, 2), 2)
    with several:
        several._pipes[0].send(0)
    assert several._processes[0].exitcode == 0 and capfd.readouterr().err == ""


def test_a_process_that_died_is_reported_instead_of_waited_for():
    network = _network()
    with Shares(network, _work(network, 2), 2) as several:
        several.gradients(0)
        os.kill(several._processes[0].pid, signal.SIGKILL)
        several._processes[0].join()
        with pytest.raises(SharesError, match="has died"):
            several.gradients(1)


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape: tuple[int, int]):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert float(values.min()) > 0.5 and float(values.max()) < 1.3


def test_muon_steps_as_torchs_does_to_the_rounding_of_bfloat16():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 96).reshape(8, 12)) for _ in range(2))
    start = ours.detach().clone()
    mine = Muon([ours], lr=0.01, weight_decay=0.05)
    other = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    noise = torch.Generator().manual_seed(2)
    for _ in range(4):
        ours.grad = torch.randn(8, 12, generator=noise)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    assert float((ours - theirs).norm() / (theirs - start).norm()) < 0.03


def test_muon_takes_a_convolution_as_the_matrix_of_its_filters():
    filters, matrix = (nn.Parameter(t) for t in (torch.ones(6, 3, 2, 2), torch.ones(6, 12)))
    optimizer = Muon([filters, matrix], lr=0.01)
    filters.grad = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    matrix.grad = filters.grad.flatten(1).clone()
    optimizer.step()
    assert torch.allclose(filters.flatten(1), matrix) and float((matrix - 1).abs().max()) > 1e-3


def test_muon_refuses_what_is_not_a_matrix():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))])
