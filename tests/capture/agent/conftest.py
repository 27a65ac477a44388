from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from capture.agent import lsl
from tests.capture.agent.harness import Ingest, Station
from tests.capture.agent.trackers import SESSION, Bench


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path)
    yield station
    station.end()


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    server = Ingest()
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Trackers of other programs, on LSL in this process."""
    lsl.load(SESSION)
    bench = Bench()
    yield bench
    bench.end()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Station]:
    """A station in the LSL session of this process: its agent finds the streams that a test publishes."""
    lsl.load(SESSION)
    station = Station(tmp_path)
    station.session = SESSION
    station._environment["GAZEROOM_LSL_SESSION"] = SESSION
    yield station
    station.end()
