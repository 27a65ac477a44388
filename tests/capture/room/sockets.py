"""A WebSocket client that speaks ASGI straight to the application (channels.testing would want daphne)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from asgiref.testing import ApplicationCommunicator


class WebsocketCommunicator(ApplicationCommunicator):
    def __init__(self, application: Any, url: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        parts = urlsplit(url)
        scope = {
            "type": "websocket",
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": headers or [],
            "subprotocols": [],
        }
        super().__init__(application, scope)

    async def connect(self, timeout: float = 30) -> tuple[bool, int | None]:
        """(accepted, close code)."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(timeout)
        return answer["type"] == "websocket.accept", answer.get("code")

    async def send_to(self, *, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        key, value = ("text", text_data) if bytes_data is None else ("bytes", bytes_data)
        await self.send_input({"type": "websocket.receive", key: value})

    async def receive_from(self, timeout: float = 30) -> str:
        answer = await self.receive_output(timeout)
        assert answer["type"] == "websocket.send", f"the socket was closed: {answer}"
        return str(answer["text"])

    async def disconnect(self, code: int = 1000) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(5)
