"""Training goes on after any kill as if nothing had happened, and bad input costs one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gazex.__main__ import main
from gazex.infer import GazeX
from gazex.model.network import load_network
from gazex.schema import read_visits
from gazex.train.collate import collate
from gazex.train.data import PhantomRecords, VisitRecords
from gazex.train.runs import PhantomSource, ReplaySource, retrain
from gazex.train.stages import Stage, retrain_stages
from gazex.train.trainer import TrainError, choose, learning_rate, loss_of, train
from tests.gazex.conftest import two_visits

STAGES = [
    Stage("one", 3, 1e-3, batch=2, warmup=2),
    Stage("two", 3, 5e-4, batch=2, tasks={"report": 0.7, "fvp": 1.0}, warmup=1),
]


class Killed(BaseException):
    pass


def _source(network):
    return PhantomSource(PhantomRecords(network.processor, network.config.heat_findings, keep=16), 6)


def _weights(network) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in network.named_parameters()}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_between_checkpoints_and_resumed_ends_with_identical_weights(processes: int, tmp_path: Path):
    whole = load_network("small", trainable=True)
    assert train(
        whole, _source(whole), STAGES, tmp_path / "whole", seed=5, processes=processes, muon=processes == 2
    ).finished

    killed = load_network("small", trainable=True)

    def kill(step: int) -> None:
        if step == 4:
            raise Killed

    with pytest.raises(Killed):
        train(
            killed, _source(killed), STAGES, tmp_path / "killed",
            seed=5, processes=processes, muon=processes == 2, checkpoint_every_s=0.0, after_step=kill,
        )  # fmt: skip
    again = load_network("small", trainable=True)
    state = train(
        again,
        _source(again),
        STAGES,
        tmp_path / "killed",
        seed=5,
        resume=True,
        processes=processes,
        muon=processes == 2,
    )
    assert state.finished
    for name, value in _weights(whole).items():
        assert torch.equal(value, _weights(again)[name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "progress.jsonl").read_text().splitlines()]
    assert steps[-1] == 6


def test_a_folder_that_holds_a_run_is_not_overwritten_nor_resumed_with_another_plan(tmp_path: Path):
    network = load_network("small", trainable=True)
    stages = [Stage("one", 1, 1e-3, batch=1)]
    train(network, _source(network), stages, tmp_path, seed=1)
    with pytest.raises(TrainError, match="--resume"):
        train(network, _source(network), stages, tmp_path, seed=1)
    with pytest.raises(TrainError, match="another seed"):
        train(network, _source(network), stages, tmp_path, seed=2, resume=True)


def test_the_learning_rate_warms_up_and_falls_in_every_stage():
    stages = [Stage("a", 100, 1.0, warmup=10), Stage("b", 50, 0.5, warmup=5)]
    rates = [learning_rate(stages, k)[1] for k in range(150)]
    assert rates[0] == pytest.approx(0.1) and max(rates[:100]) == pytest.approx(1.0) and rates[99] < 0.05
    assert max(rates[100:]) == pytest.approx(0.5) and rates[149] < 0.03
    with pytest.raises(IndexError):
        learning_rate(stages, 150)


def test_one_visit_is_at_most_two_of_a_batch_and_replay_fills_the_rest(visits: Path):
    network = load_network("small")
    only = VisitRecords(visits, read_visits(visits)[:1], network.processor, network.config.heat_findings)
    replay = _source(network)
    drawn = ReplaySource(only, replay).draw(8, np.random.default_rng(0))
    assert len(drawn) == 8 and sum(r is only[0] for r in drawn) == 2


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of visits, and the folder of a run that was trained on them."""
    folder = tmp_path_factory.mktemp("retrained")
    state = retrain(two_visits(folder / "visits"), "small", folder / "run", steps=8, seed=1, calibration_cases=16)
    assert state.finished
    return folder / "visits", folder / "run"


def test_retraining_on_visits_writes_progress_and_a_model_that_answers(retrained):
    _, out = retrained
    rows = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    assert all({"step", "total", "loss", "lr", "elapsed_s"} <= set(row) for row in rows)
    assert max(r["step"] for r in rows) == 8 and all(np.isfinite(r["loss"]) for r in rows)
    before, after = GazeX.load("small"), GazeX.load(out / "model")
    assert after.weights_sha256 != before.weights_sha256 and after.calibrated
    evidence = after.read(np.arange(128 * 128, dtype=np.uint16).reshape(128, 128))
    assert evidence.model_sha256 == after.weights_sha256
    card = json.loads((out / "model" / "card.json").read_text())
    assert card["visits"] == 2 and card["init_sha256"] == before.weights_sha256


def test_retraining_lowers_the_loss_on_the_visits_themselves(retrained):
    visits, out = retrained

    def loss(network) -> float:
        records = VisitRecords(visits, read_visits(visits), network.processor, network.config.heat_findings)
        stage = Stage("all", 1, 1.0, tasks={"report": 1.0, "fvp": 1.0, "gtm": 1.0})
        chosen = choose([records[0], records[1]], stage, np.random.default_rng(0))
        with torch.no_grad():
            return float(loss_of(network, collate(chosen, network.processor), stage)[0])

    assert loss(load_network(out / "model")) < loss(load_network("small"))


def test_an_adapter_is_trained_saved_and_loaded_on_a_full_size_layout(qwen_folder, visits: Path, tmp_path: Path):
    retrain(visits, str(qwen_folder), tmp_path / "run", steps=2, calibration_cases=8)
    model = tmp_path / "run" / "model"
    assert (model / "adapter" / "adapter_model.safetensors").is_file() and not (model / "model.safetensors").exists()
    loaded = GazeX.load(model)
    assert loaded.findings[0] == "Enlarged Cardiomediastinum" and loaded.network.heat is not None
    lora = load_file(model / "adapter" / "adapter_model.safetensors")
    assert any("lora_B" in k and v.abs().max() > 0 for k, v in lora.items())
    assert len(loaded.read(np.arange(4096, dtype=np.uint16).reshape(64, 64)).findings) == 13


def test_sigterm_stops_with_a_checkpoint_and_the_run_can_go_on(visits: Path, tmp_path: Path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "gazex", "train", "--visits", str(visits), "--out", str(out), "--steps", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 90
    while not (out / "progress.jsonl").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143 and b"continue with --resume" in stderr
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    assert 1 <= checkpoint["step"] < 500 and not (out / "model").exists()
    network = load_network("small", trainable=True)
    stages = retrain_stages(500)
    made: list[int] = []

    def stop(step: int) -> None:
        made.append(step)
        raise Killed

    with pytest.raises(Killed):
        train(network, _source(network), stages, out, seed=0, resume=True, after_step=stop)
    assert made == [checkpoint["step"] + 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--visits", "NOWHERE", "--out", "OUT"], "visits.jsonl is missing"),
        (["train", "--visits", "VISITS", "--out", "OUT", "--steps", "0"], "--steps is 0"),
        (["train", "--visits", "VISITS", "--out", "OUT", "--init", "/no/model"], "no model folder"),
        (["evaluate", "--out", "OUT/e.json", "--cases", "2"], "from 8 to 2000"),
        (["read", "TEXT"], "not a DICOM image"),
    ],
)
def test_bad_input_costs_one_sentence_and_leaves_nothing_behind(arguments, words, visits: Path, tmp_path: Path, capsys):
    (tmp_path / "text.dcm").write_text("I am not an image.")
    names = {"NOWHERE": tmp_path / "nowhere", "VISITS": visits, "OUT": tmp_path / "out", "TEXT": tmp_path / "text.dcm"}
    filled = [str(names[a]) if a in names else a.replace("OUT/", f"{tmp_path}/out/") for a in arguments]
    assert main(filled) == 2
    message = capsys.readouterr().err.strip()
    assert words in message and message.endswith(".") and "\n" not in message
    assert not (tmp_path / "out" / "model").exists() and not (tmp_path / "out" / "e.json").exists()
