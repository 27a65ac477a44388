"""Takes the spool to the server, and deletes nothing before the server has confirmed all of it.

Every epoch has its own connection. The server says from where to go on; frames are sent in order, within a window of
unacknowledged ones, and only those that fdatasync has made durable here: what the server holds, the spool held first.
When the epoch has ended and all is acknowledged, `end` carries frame counts and SHA-256 of each stream, and `sealed` is
the permission to delete. A server that is away is tried again with growing pauses; one that refuses is asked again only
every quarter of an hour, and the refusal is kept with the recording and shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from capture.agent.spool import Epoch
from capture.frames import GAZE

log = logging.getLogger(__name__)

#: Frames sent and not yet acknowledged, per stream: 25 s of them.
WINDOW = 256
PAUSE_S = (0.5, 30.0)
REFUSED_PAUSE_S = 900.0
#: With frames on their way and no answer for so long, the connection is given up.
PATIENCE_S = 30.0
#: The server reads everything again to verify the hash before it seals.
SEAL_PATIENCE_S = 300.0
#: Within this time the same rewind again is an echo: frames that were on their way when it was first asked for.
ECHO_S = 0.5
REFUSING_STATUS = {401, 403}
REFUSING_CODES = {1008, 4401, 4403}


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The server will not take this recording. The message is its sentence."""


class Lost(Exception):  # noqa: N818
    """The connection is of no use any more; try again."""


@dataclass
class _Stream:
    """Where one stream is on one connection."""

    acked: int
    next: int
    rewound: tuple[int, float] = (-1, 0.0)
    owed: int | None = None  # a rewind that was taken for an echo of one already obeyed


@dataclass
class Delivery:
    """One epoch on its way."""

    epoch: Epoch
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    retry: asyncio.Event = field(default_factory=asyncio.Event)
    streams: dict[int, _Stream] = field(default_factory=dict)
    connected: bool = False
    begun: bool = False  # the server knows of this epoch

    @property
    def pending(self) -> int:
        """Frames on this disk that the server has not acknowledged."""
        return sum(
            file.frames - (self.streams[s].acked if s in self.streams else 0) for s, file in self.epoch.files.items()
        )

    @property
    def uploaded(self) -> int:
        """Gaze frames the server has acknowledged."""
        return self.streams[GAZE].acked if GAZE in self.streams else 0


class Uploader:
    """Delivers epochs, each in a task of its own. All methods belong to the event loop's thread.

    `credential` proves to the server which station delivers: a token alone is good at the station it was made for.
    """

    def __init__(self, credential: str = "") -> None:
        self._credential = credential
        self._tasks: dict[asyncio.Task[None], Delivery] = {}
        self._last: Delivery | None = None

    def submit(self, epoch: Epoch) -> None:
        """Deliver `epoch`, which may still be growing."""
        delivery = Delivery(epoch)
        self._last = delivery
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._tasks[task] = delivery
        task.add_done_callback(self._done)

    def wake(self) -> None:
        """There is more on the disk, or an epoch has ended."""
        for delivery in self._tasks.values():
            delivery.wake.set()

    def renew(self, recording: str, token: str, socket: str) -> None:
        """A new token for `recording`: what still waits of it is tried again at once."""
        for delivery in self._tasks.values():
            epoch = delivery.epoch
            if epoch.recording == recording and (epoch.token, epoch.socket) != (token, socket):
                epoch.token, epoch.socket = token, socket
                self._save(epoch)
                delivery.retry.set()

    @property
    def pending_frames(self) -> int:
        return sum(delivery.pending for delivery in self._tasks.values())

    @property
    def uploaded(self) -> int:
        """Gaze frames acknowledged of the recording that was submitted last."""
        return self._last.uploaded if self._last else 0

    @property
    def refused(self) -> list[str]:
        """A sentence for each recording the server refuses."""
        return [d.epoch.reason for d in self._tasks.values() if d.epoch.reason]

    async def close(self, grace_s: float = 1.0) -> None:
        """Give what has ended a moment to be sealed, then let go; the spool keeps the rest."""
        if self._tasks:
            connected = [task for task, delivery in self._tasks.items() if delivery.connected]
            if connected:
                await asyncio.wait(connected, timeout=grace_s)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        delivery = self._tasks.pop(task)
        if not task.cancelled() and task.exception():
            log.error("upload of %s failed", delivery.epoch.recording, exc_info=task.exception())

    async def _deliver(self, delivery: Delivery) -> None:
        epoch, pause = delivery.epoch, PAUSE_S[0]
        while True:
            started = time.monotonic()
            try:
                await self._connection(delivery)
            except Refused as refusal:
                reason = f"The server refuses recording {epoch.recording}: {refusal}"
                log.error("%s (kept in %s)", reason, epoch.folder)
                if epoch.reason != reason:
                    epoch.reason = reason
                    if epoch.state == "ended":
                        epoch.state = "refused"
                    self._save(epoch)
                pause = REFUSED_PAUSE_S
            except (OSError, Lost, ConnectionClosed, InvalidHandshake, TimeoutError) as error:
                log.info("upload of %s waits %.1f s: %s", epoch.recording, pause, error or type(error).__name__)
                if time.monotonic() - started > 10:
                    pause = PAUSE_S[0]
            else:
                await asyncio.to_thread(epoch.delete)
                log.info("recording %s is sealed on the server", epoch.recording)
                return
            finally:
                delivery.connected = False
            delivery.retry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(0.8, 1.2)):
                    await delivery.retry.wait()
                    pause = PAUSE_S[0]
            pause = pause if pause >= REFUSED_PAUSE_S else min(pause * 2, PAUSE_S[1])

    def _save(self, epoch: Epoch) -> None:
        try:
            epoch.save()
        except OSError as error:
            log.error("the refusal of %s could not be kept: %s", epoch.recording, error)

    async def _connection(self, delivery: Delivery) -> None:
        """One connection, until the epoch is sealed. Raises Refused, Lost or a connection's error otherwise."""
        epoch = delivery.epoch
        local = urlsplit(epoch.socket).hostname in ("127.0.0.1", "localhost", "::1")
        try:
            client = connect(
                epoch.socket,
                additional_headers={"Authorization": f"Bearer {epoch.token}", "Gazeroom-Station": self._credential},
                compression=None,
                open_timeout=10,
                ping_interval=20,
                ping_timeout=20,
                close_timeout=1,
                proxy=None if local else True,
                max_size=2**20,
            )
            async with client as socket:
                await self._begin(delivery, socket)
                sealed = asyncio.Event()
                ears = asyncio.create_task(self._listen(delivery, socket, sealed))
                mouth = asyncio.create_task(self._speak(delivery, socket, sealed))
                try:
                    await asyncio.wait({ears, mouth}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (ears, mouth):
                        task.cancel()
                    await asyncio.gather(ears, mouth, return_exceptions=True)
                if sealed.is_set():
                    return
                for task in (ears, mouth):  # what was heard explains why speaking failed
                    if not task.cancelled():
                        task.result()
                raise Lost("the server closed the connection")
        except InvalidStatus as error:
            status = error.response.status_code
            if status in REFUSING_STATUS:
                raise Refused(f"it answered HTTP {status} (is the recording's token still valid?).") from None
            raise Lost(f"the server answered HTTP {status}") from None
        except InvalidURI:
            raise Refused(f"{epoch.socket!r} is no address of a WebSocket.") from None
        except ConnectionClosed as error:
            if error.rcvd and error.rcvd.code in REFUSING_CODES:
                raise Refused(
                    f"it closed the connection: {error.rcvd.code} {error.rcvd.reason}".strip() + "."
                ) from None
            raise

    async def _begin(self, delivery: Delivery, socket: ClientConnection) -> None:
        epoch = delivery.epoch
        begin = {
            "op": "begin",
            "recording": epoch.recording,
            "epoch": str(epoch.epoch),
            "streams": epoch.streams,
            "interrupted": epoch.interrupted,
            "began": epoch.began,
        }
        await socket.send(json.dumps(begin))
        async with asyncio.timeout(PATIENCE_S):
            answer = _parse(await socket.recv())
        if answer["op"] != "resume":
            raise Lost(f"the server answered {answer['op']!r} to begin")
        delivery.streams = {}
        for s, file in epoch.files.items():
            start = int(answer["from"].get(str(s), 0))
            if start > file.frames:
                raise Refused(f"it holds {start} frames of stream {s}, this station only {file.frames}.")
            told = (answer.get("sha256") or {}).get(str(s))
            if told is not None and await asyncio.to_thread(file.sha256_of, start) != told:
                raise Refused(f"its first {start} frames of stream {s} are not those of this station (SHA-256).")
            delivery.streams[s] = _Stream(start, start)
        delivery.connected = delivery.begun = True
        if epoch.reason:
            epoch.reason = ""
            if epoch.state == "refused":
                epoch.state = "ended"
            self._save(epoch)

    async def _speak(self, delivery: Delivery, socket: ClientConnection, sealed: asyncio.Event) -> None:
        epoch, streams = delivery.epoch, delivery.streams
        said_end = False
        progress = time.monotonic()
        acked = -1
        while True:
            delivery.wake.clear()
            # Read before the frames: an epoch that has ended grows no more.
            ended = epoch.state != "recording"
            sent = False
            for s, file in epoch.files.items():
                stream = streams[s]
                while stream.next < min(file.synced, stream.acked + WINDOW):
                    sequence = stream.next
                    stream.next += 1
                    await socket.send(file.read(sequence))
                    sent = True
            now = time.monotonic()
            total = sum(stream.acked for stream in streams.values())
            waiting = any(stream.acked < stream.next for stream in streams.values())
            if total != acked or sent or not (waiting or said_end):
                acked, progress = total, now
            for stream in streams.values():
                if stream.owed == stream.acked and now - progress > ECHO_S:  # it was no echo
                    stream.next, stream.owed, sent = stream.acked, None, True
            if now - progress > (SEAL_PATIENCE_S if said_end else PATIENCE_S):
                raise Lost("the server has stopped answering")
            complete = ended and all(streams[s].acked == file.frames for s, file in epoch.files.items())
            # The server finds the gap between two epochs when it seals the later one: it must know of both by then.
            complete = complete and not self._owes_an_earlier(delivery)
            if complete and not said_end:
                await socket.send(json.dumps(self._end(epoch)))
                progress = now
            said_end = complete
            if sealed.is_set():
                return
            if not sent:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await delivery.wake.wait()

    def _owes_an_earlier(self, delivery: Delivery) -> bool:
        """Whether an older epoch of the same recording waits here that the server has neither begun nor refused."""
        since = delivery.epoch.began.get("utc", 0.0)
        return any(
            not other.begun and not other.epoch.reason
            for other in self._tasks.values()
            if other is not delivery
            and other.epoch.recording == delivery.epoch.recording
            and other.epoch.began.get("utc", 0.0) < since
        )

    @staticmethod
    def _end(epoch: Epoch) -> dict[str, Any]:
        return {
            "op": "end",
            "recording": epoch.recording,
            "epoch": str(epoch.epoch),
            "streams": {
                str(s): {"frames": file.frames, "sha256": file.sha256, "samples": file.samples}
                for s, file in epoch.files.items()
            },
            "gaps": epoch.gaps,
            "notes": epoch.notes,
            "interrupted": epoch.interrupted,
            "until": epoch.until,
        }

    async def _listen(self, delivery: Delivery, socket: ClientConnection, sealed: asyncio.Event) -> None:
        async for text in socket:
            answer = _parse(text)
            op = answer["op"]
            if op == "sealed":
                sealed.set()
            elif op in ("ack", "rewind"):
                self._place(delivery, op, int(answer["stream"]), int(answer["next"]))
            else:
                log.debug("the server says %s", answer)
            delivery.wake.set()
            if sealed.is_set():
                return
        raise Lost("the server closed the connection")

    @staticmethod
    def _place(delivery: Delivery, op: str, s: int, place: int) -> None:
        stream = delivery.streams.get(s)
        if stream is None:
            return
        if op == "ack":
            stream.acked = max(stream.acked, min(place, delivery.epoch.files[s].frames))
            stream.next = max(stream.next, stream.acked)
            return
        # Every frame that was on its way when one went missing asks for the same rewind: obey the first of them.
        now = time.monotonic()
        if stream.rewound[0] == place and now - stream.rewound[1] < ECHO_S:
            stream.owed = place
            return
        stream.rewound, stream.owed = (place, now), None
        stream.acked = min(stream.acked, place)
        stream.next = min(stream.next, place)


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
        op = answer["op"]
    except (ValueError, KeyError, TypeError):
        raise Lost(f"the server said something that is no message: {text[:80]!r}") from None
    if op == "error":
        raise Refused(str(answer.get("sentence", "it gave no reason.")))
    return dict(answer)
