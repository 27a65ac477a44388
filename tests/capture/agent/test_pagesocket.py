"""What the agent's socket tells whom, before and after the key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from capture.agent import pagesocket
from capture.agent.pagesocket import PageSocket

ORIGIN, NUMBER, KEY = "https://reading.example", "9b1d8a52-0000-4000-8000-000000000001", "k" * 43


class Station:
    """A station that must not be asked anything before a hello."""

    number = NUMBER

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def asked(*args: Any) -> Any:
            self.asked.append(name)
            return 1.0 if name == "clock" else {"tracker": {}}

        return asked


@asynccontextmanager
async def serving(station: Station) -> AsyncIterator[PageSocket]:
    socket = PageSocket(station, port=0, key=KEY, origins=[ORIGIN])
    await socket.start()
    try:
        yield socket
    finally:
        await socket.close()


def page(socket: PageSocket, origin: str | None = ORIGIN) -> Any:
    return connect(f"ws://127.0.0.1:{socket.port}/", origin=origin, proxy=None)  # type: ignore[arg-type]


async def say(client: ClientConnection, **message: Any) -> dict[str, Any]:
    await client.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(await client.recv())
    return answer


async def test_a_page_learns_the_stations_number_without_a_key_and_nothing_else() -> None:
    station = Station()
    async with serving(station) as socket, page(socket) as client:
        assert await say(client, op="identify") == {"op": "station", "station": NUMBER}
        assert station.asked == []
        assert (await say(client, op="hello", key=KEY))["op"] == "welcome"
        assert station.asked == ["welcome"]


@pytest.mark.parametrize(
    "second",
    [
        {"op": "identify"},
        {"op": "hello", "key": ""},
        {"op": "clock", "t0": 1},
        {"op": "collect", "seconds": 1},
        {"op": "stop"},
    ],
    ids=lambda message: str(message["op"]),
)
async def test_whoever_asked_still_needs_the_key_for_anything_more(second: dict[str, Any]) -> None:
    station = Station()
    async with serving(station) as socket, page(socket) as client:
        await say(client, op="identify")
        await client.send(json.dumps(second))
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 4401
        assert station.asked == []


@pytest.mark.parametrize("origin", ["http://reading.example", "https://evil.example", "null", None])
async def test_a_page_of_another_origin_cannot_even_ask(origin: str | None) -> None:
    async with serving(Station()) as socket:
        with pytest.raises(InvalidStatus) as refused:
            async with page(socket, origin):
                pass
        assert refused.value.response.status_code == 403


async def test_those_who_say_nothing_are_few_and_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagesocket, "HELLO_PATIENCE_S", 1.0)
    async with serving(Station()) as socket:
        silent = [await page(socket) for _ in range(pagesocket.STRANGERS)]
        for client in silent:
            # Whoever has asked is a stranger still.
            assert (await say(client, op="identify"))["station"] == NUMBER
        async with page(socket) as one_more:
            with pytest.raises(ConnectionClosed) as closed:
                await one_more.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1013
        for client in silent:
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(20):
                    await client.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 4408
        async with page(socket) as client:
            assert (await say(client, op="hello", key=KEY))["op"] == "welcome"


async def test_a_station_without_a_key_does_not_listen() -> None:
    with pytest.raises(ValueError, match="gazeroom-agent pair"):
        PageSocket(Station(), port=0, key="", origins=[ORIGIN])
