from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.capture.agent.harness import Ingest, Station


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
