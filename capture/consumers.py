"""The two sockets: the station agent's frames, and the page's viewport states and clock exchanges.

Both acknowledge only what is on the disk. The event loop never waits for the disk: a connection's work is done in order
by one thread call at a time, and whatever has piled up meanwhile is written together, with one fdatasync.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from capture import frames
from capture.models import Recording
from capture.queries.recordings import recordings_written_by
from capture.services import ingest, processing, recordings
from capture.services.store import FrameFile, JournalFile, StoreBusy, StoreError, frame_path

log = logging.getLogger(__name__)

#: These sockets speak to nobody but their own client: a broker that is away must not take them along.
NO_CHANNEL_LAYER = ""
#: Frames waiting for the disk before the socket stops reading: the agent's window is smaller.
BACKLOG = 512
BAD_REQUEST, TRY_AGAIN, SUPERSEDED = 4400, 1013, 4409


class IngestConsumer(AsyncWebsocketConsumer):
    """`/ws/ingest/`: begin → resume, binary frames → ack | rewind, end → sealed | error.

    No session and no Origin: `Authorization: Bearer <token>` opens exactly one recording. A refused token is HTTP 403.
    `Gazeroom-Station: <credential>` says whose agent it is; a token made for another station begins nothing.
    """

    channel_layer_alias = NO_CHANNEL_LAYER
    #: Who is writing an epoch in this process: a reconnection takes over from a connection that is not yet known dead.
    _writers: dict[tuple[str, str], IngestConsumer] = {}

    async def connect(self) -> None:
        self.recording: Recording | None = None
        self.epoch: UUID | None = None
        self.files: dict[int, FrameFile] = {}
        self.sealed: dict[int, int] = {}
        self.streams: dict[str, Any] = {}
        self.queue: asyncio.Queue[bytes | dict[str, Any]] = asyncio.Queue(BACKLOG)
        self.writer: asyncio.Task[None] | None = None
        token = _bearer(self.scope)
        row = await database_sync_to_async(recordings.opened_by)(token) if token else None
        if row is None:
            log.warning("an agent was refused: its token is unknown, expired or without consent")
            await self.close()
            return
        self.recording, self.until, self.token = row.recording, row.expires_at, row
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self._release()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            if self.writer is None:
                await self._refuse("Frames came before begin.", BAD_REQUEST)
                return
            await self._hand(bytes(bytes_data))
            return
        message = _parse(text_data)
        match message.get("op"):
            case "begin":
                await self._begin(message)
            case "end" if self.writer is not None:
                # Behind the frames that are still waiting for the disk.
                await self._hand(message)
            case "end":
                await self._refuse("The end came before begin.", BAD_REQUEST)
            case _:
                await self._refuse("A message has an op: begin or end.", BAD_REQUEST)

    async def _hand(self, one: bytes | dict[str, Any]) -> None:
        """Give the writer something to do; what comes after its end is dropped, and will be sent again.

        Nobody empties the queue of a writer that has ended. Waiting for room in it would hold up the disconnect behind
        it too, and with that the files' locks.
        """
        writer = self.writer
        if writer is None or writer.done():
            return
        if not self.queue.full():
            self.queue.put_nowait(one)
            return
        put = asyncio.create_task(self.queue.put(one))
        try:
            await asyncio.wait({put, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()

    async def _begin(self, message: dict[str, Any]) -> None:
        assert self.recording is not None
        if self.writer is not None:
            await self._refuse("An epoch has begun on this connection already.", BAD_REQUEST)
            return
        try:
            epoch = UUID(str(message.get("epoch")))
            streams = message.get("streams")
            if str(message.get("recording")) != str(self.recording.pk):
                raise StoreError("This token belongs to another recording.")
            if not isinstance(streams, dict):
                raise StoreError("begin announces its streams.")
            await database_sync_to_async(ingest.begin)(
                recording=self.recording,
                epoch=epoch,
                streams=streams,
                until=self.until,
                under=self.token,
                credential=_header(self.scope, b"gazeroom-station"),
                began=message.get("began"),
            )
        except (ValueError, StoreError) as error:
            sentence = str(error) if isinstance(error, StoreError) else "begin names no epoch."
            await self._refuse(sentence, BAD_REQUEST)
            return
        key = (str(self.recording.pk), str(epoch))
        other = self._writers.get(key)
        if other is not None and other is not self:
            await other._release()
            with contextlib.suppress(Exception):
                await other.close(SUPERSEDED)
        self._writers[key] = self
        self.epoch = epoch
        try:
            self.sealed = await database_sync_to_async(ingest.sealed_frames)(recording=self.recording, epoch=epoch)
            for stream in sorted(int(s) for s in streams) if not self.sealed else []:
                path = frame_path(self.recording.folder, stream, epoch)
                channels = ingest.channels_of(stream, streams[str(stream)])
                self.files[stream] = await asyncio.to_thread(FrameFile, path, stream, epoch, channels)
        except StoreBusy:
            # Not an error the agent would have to show to a person: another server process still holds the file.
            await self.close(TRY_AGAIN)
            return
        except (StoreError, OSError) as error:
            log.error("epoch %s cannot be continued", epoch, exc_info=error)
            await self._refuse(str(error), BAD_REQUEST)
            return
        self.streams = streams
        self.writer = asyncio.create_task(self._write())
        places = self.sealed or {s: f.next for s, f in self.files.items()}
        # The agent compares: what is acknowledged without being written must be what it would have sent.
        resume: dict[str, Any] = {"op": "resume", "from": {str(s): place for s, place in places.items()}}
        held = {str(s): f.sha256 for s, f in self.files.items() if f.next}
        await self._say({**resume, "sha256": held} if held else resume)

    async def _write(self) -> None:
        """The connection's only writer: takes all that waits, stores it, acknowledges."""
        try:
            while True:
                batch = [await self.queue.get()]
                while not self.queue.empty() and isinstance(batch[-1], bytes):
                    batch.append(self.queue.get_nowait())
                data = [one for one in batch if isinstance(one, bytes)]
                if data and not await self._store(data):
                    return
                if isinstance(batch[-1], dict):
                    await self._end(batch[-1])
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the writer of epoch %s failed", self.epoch)
            await self.close(TRY_AGAIN)

    async def _store(self, data: list[bytes]) -> bool:
        by_stream: dict[int, list[bytes]] = {}
        try:
            for one in data:
                by_stream.setdefault(frames.peek(one).stream, []).append(one)
            for stream in sorted(by_stream.keys() & self.sealed.keys()):
                # It has all of them and cannot change: the agent missed the answer to its end.
                await self._say({"op": "ack", "stream": stream, "next": self.sealed[stream]})
                del by_stream[stream]
            strange = sorted(by_stream.keys() - self.files.keys())
            if strange:
                raise StoreError(f"Stream {strange[0]} was not announced.")
            for stream, complete in (await asyncio.to_thread(self._append, by_stream)).items():
                place = self.files[stream].next
                await self._say({"op": "ack" if complete else "rewind", "stream": stream, "next": place})
        except (StoreError, frames.FrameError) as error:
            await self._refuse(str(error), BAD_REQUEST)
            return False
        except OSError as error:
            log.error("frames could not be stored: %s", error)
            await self.close(TRY_AGAIN)
            return False
        return True

    def _append(self, by_stream: dict[int, list[bytes]]) -> dict[int, bool]:
        """In a thread: all streams of a batch, each with one fdatasync; whether each is without a hole."""
        return {stream: self.files[stream].append(batch) for stream, batch in by_stream.items()}

    async def _end(self, message: dict[str, Any]) -> None:
        assert self.recording is not None and self.epoch is not None
        told = message.get("streams")
        told = told if isinstance(told, dict) else {}
        try:
            # Reading an hour again takes seconds: not on the thread that all database work shares.
            verified = await asyncio.to_thread(ingest.verify, self.recording, self.epoch, told, self.streams)
            await database_sync_to_async(ingest.seal)(
                recording=self.recording,
                epoch=self.epoch,
                told=told,
                reported_gaps=message.get("gaps"),
                notes=message.get("notes"),
                until=message.get("until"),
                verified=verified,
            )
        except (StoreError, frames.FrameError) as error:
            await self._refuse(str(error), None)
            return
        # What is sealed takes nothing more: from here on its frames are answered, not written.
        self.sealed = await database_sync_to_async(ingest.sealed_frames)(recording=self.recording, epoch=self.epoch)
        await self._let_go()
        await self._say({"op": "sealed"})
        await database_sync_to_async(processing.wake)(recording_id=self.recording.pk)

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the other side has gone; it will ask again
            await self.send(text_data=json.dumps(message))

    async def _refuse(self, sentence: str, code: int | None) -> None:
        await self._say({"op": "error", "sentence": sentence})
        if code is not None:
            await self.close(code)

    async def _release(self) -> None:
        """Let go of the files; what was not acknowledged is sent again on the next connection."""
        writer, self.writer = self.writer, None
        if writer is not None and writer is not asyncio.current_task():
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await writer
        await self._let_go()
        if self.recording is not None and self.epoch is not None:
            key = (str(self.recording.pk), str(self.epoch))
            if self._writers.get(key) is self:
                del self._writers[key]

    async def _let_go(self) -> None:
        files, self.files = self.files, {}
        for file in files.values():
            await asyncio.to_thread(file.close)


class PageConsumer(AsyncWebsocketConsumer):
    """`/ws/page/<recording>/`: states and clock exchanges of the reader's own page, numbered and acknowledged."""

    channel_layer_alias = NO_CHANNEL_LAYER

    async def connect(self) -> None:
        self.recording: Recording | None = None
        self.files: dict[str, JournalFile] = {}
        self.lock = asyncio.Lock()
        recording = await self._mine()
        if recording is None:
            await self.close()
            return
        self.recording = recording
        await self.accept()

    @database_sync_to_async
    def _mine(self) -> Recording | None:
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            return None
        return recordings_written_by(user).filter(pk=self.scope["url_route"]["kwargs"]["recording_id"]).first()

    async def disconnect(self, code: int) -> None:
        async with self.lock:
            files, self.files = self.files, {}
            for file in files.values():
                await asyncio.to_thread(file.close)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert self.recording is not None
        message = _parse(text_data)
        kind = message.get("op")
        if kind not in ("states", "clock"):
            await self._say({"op": "error", "sentence": "A page sends states or clock exchanges."})
            return
        async with self.lock:
            try:
                start = message.get("from")
                items = ingest.check_items(kind, start, message.get("items"))
                after, added = await asyncio.to_thread(_append, self.recording, kind, start, items)
            except StoreError as error:
                await self._say({"op": "error", "sentence": str(error)})
                return
            except (StoreBusy, OSError) as error:
                log.error("the page's journal could not be written: %s", error)
                await self.close(TRY_AGAIN)
                return
        await self._say({"op": "ack", "kind": kind, "next": after})
        if added:
            await database_sync_to_async(processing.wake_if_late)(recording_id=self.recording.pk)

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):
            await self.send(text_data=json.dumps(message))


def _append(recording: Recording, kind: str, start: Any, items: list[Any]) -> tuple[int, bool]:
    """Store and close again: two windows of one reader may take turns, and a dead connection holds nothing."""
    with JournalFile(ingest.journal_path(recording, kind)) as file:
        before = file.next
        file.append(start, items)
        return file.next, file.next > before


def _bearer(scope: dict[str, Any]) -> str:
    scheme, _, token = _header(scope, b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _header(scope: dict[str, Any], wanted: bytes) -> str:
    """The first header of this name (lower case); empty where there is none."""
    return next((v.decode("latin-1").strip() for n, v in scope.get("headers", []) if n.lower() == wanted), "")


def _parse(text: str | None) -> dict[str, Any]:
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
