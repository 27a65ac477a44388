"""A short session of `benchmarks/kills.py`: each process killed once, the network cut for a second."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"


@pytest.fixture(scope="module")
def kills() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kills", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    told = tmp_path_factory.mktemp("kills") / "figures.json"
    command = [sys.executable, str(BENCHMARK), "--kills", "1", "--cut-seconds", "1", "--json", str(told)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert told.exists(), run.stdout + run.stderr
    figures: dict[str, Any] = json.loads(told.read_text())
    assert run.returncode == (1 if figures["failures"] else 0)
    return figures


def test_every_claim_holds_when_each_process_is_killed(session: dict[str, Any]) -> None:
    assert session["failures"] == []
    assert session["kills_each"] == {"tracker": 1, "agent": 1, "server": 1, "broker": 1}


def test_what_was_spooled_is_stored_once(session: dict[str, Any]) -> None:
    assert session["samples_spooled"] == session["samples_stored"] > 0
    assert session["stored_twice"] == 0


def test_a_killed_agent_loses_no_more_than_a_frame_and_a_pull_of_what_it_had_received(
    session: dict[str, Any], kills: ModuleType
) -> None:
    # Counted in samples at the tracker's rate, so that a machine that stalls changes nothing: a frame is cut as soon as
    # 0.1 s of samples are there, and no pull takes more than 0.01 s of them.
    assert len(session["lost_s_per_agent_kill"]) == 1
    assert session["lost_s_most"] <= kills.MOST_LOST_S


def test_the_downtime_of_the_agent_is_one_gap_row(session: dict[str, Any]) -> None:
    assert len(session["agent_downtime_s"]) == session["gap_rows"]["between"] == 1


def test_a_broker_that_is_killed_takes_no_connection_of_the_agent_along(session: dict[str, Any]) -> None:
    assert session["server_exceptions"] == 0


def test_a_step_of_the_frame_number_a_pause_and_a_new_epoch_are_each_a_discontinuity(kills: ModuleType) -> None:
    def rows(times: list[float], numbers: list[float]) -> np.ndarray:
        table = np.zeros((len(times), 31))
        table[:, 0], table[:, 29] = times, numbers
        return table

    samples = {
        "one": rows([0.0, 0.001, 0.002, 1.0, 1.001], [7, 8, 10, 11, 0]),
        "empty": rows([], []),
        "two": rows([5.0], [1]),
    }
    assert kills._gaps(["one", "empty", "two"], samples) == [
        ("samples", "one", 0.001, 0.002, 1),
        ("samples", "one", 0.002, 1.0, None),
        ("samples", "one", 1.0, 1.001, None),
        ("between", "two", 1.001, 5.0, None),
    ]


def test_a_receipt_counts_only_what_was_wholly_written(kills: ModuleType, tmp_path: Path) -> None:
    table = np.memmap(tmp_path / "receipts", dtype=np.float64, mode="w+", shape=(10,))
    table[1:5] = [0.1, 0.2, 0.3, 0.4]
    table[0] = 3
    assert kills.received(tmp_path / "receipts").tolist() == [0.1, 0.2, 0.3]
