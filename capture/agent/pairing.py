"""What ties this station to one site: the pairing, kept beside the spool, and the words said to the site's pages.

``gazeroom-agent pair https://the.site CODE`` brings the code that the site's Stations page shows, and a key that is
made here, to the server; the server answers with the station's number and its credential. All of it is kept in
``station.json`` beside the spool (mode 0600), and from then on nothing has to be configured:

- *credential*: proves this agent to the server, with every upload and once a minute (`Presence`); what a token was
  minted under (`capture.tokens`)
- *key*: proves a page to this agent (`capture.agent.pagesocket`); the server tells it to the readers who sit here
- *origins*: whose pages may connect, and where recordings may be sent: the address it was paired with
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import platform
import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

FILE_NAME = "station.json"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PATIENCE_S = 15.0
#: The server calls a station away that has not spoken for two and a half minutes.
SPEAK_S = 60.0
RETRY_S = 10.0
#: What is told has changed: the server hears of it within this time.
NOTICE_S = 2.0
_LIMIT = 65536


class PairingError(RuntimeError):
    """This station is not paired, or cannot be. The message is one sentence with the remedy."""


class NotPaired(PairingError):  # noqa: N818 - a state, not a fault
    """There is no pairing yet."""


class Refused(PairingError):  # noqa: N818 - an answer, not a fault
    """The server has answered, and it says no. `status` is its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Pairing:
    """One station of one site."""

    server: str
    origins: tuple[str, ...]
    station: str
    name: str
    credential: str = field(repr=False)
    key: str = field(repr=False)

    def sends_to(self, socket: str) -> bool:
        """Whether a recording may go to this ws(s):// address: one of the paired site, or of this computer."""
        parts = urlsplit(socket)
        if parts.hostname in LOOPBACK:
            return True
        return f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}" in self.origins


def file_beside(spool: Path) -> Path:
    """Where the pairing of the agent with this spool is kept."""
    return spool.absolute().with_name(FILE_NAME)


def load(path: Path) -> Pairing:
    """The pairing kept at `path`. Raises NotPaired when there is none, PairingError when it is damaged."""
    try:
        values = json.loads(path.read_text())
        return Pairing(**{**values, "origins": tuple(values["origins"])})
    except FileNotFoundError:
        raise NotPaired(
            "This station is not paired: ask a coordinator for a code (Stations page), "
            "then run gazeroom-agent pair https://the.site CODE."
        ) from None
    except OSError as error:
        raise PairingError(
            f"{path} cannot be read ({error.strerror}): run the agent as the user who paired it."
        ) from None
    except (ValueError, TypeError, KeyError):
        raise PairingError(f"{path} is damaged: pair this station again with gazeroom-agent pair.") from None


def save(pairing: Pairing, path: Path) -> None:
    """Keep the pairing, whole or not at all, readable by this user only. Raises PairingError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(pairing), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PairingError(
            f"{path} cannot be written ({error.strerror}): name another --spool, or free the disk."
        ) from None


def pair(server: str, code: str) -> Pairing:
    """Pair with the site at `server` by `code`.

    Raises
    ------
    PairingError
        The address is none, would carry the credential in the clear, or does not answer; or the server says no
        (`Refused`, with the server's own sentence).
    """
    origin = origin_of(server)
    key = new_key()
    answer = _post(
        f"{origin}/capture/stations/pair/",
        {"code": code, "key": key, "version": version(), "host": platform.node()},
    )
    try:
        return Pairing(origin, origins_of(origin), answer["station"], answer["name"], answer["credential"], key)
    except KeyError:
        raise PairingError(
            f"{origin} gave an answer that is no pairing: is it a Gazeroom site of this version?"
        ) from None


def new_key() -> str:
    """What opens this agent's socket: 256 random bits."""
    return secrets.token_urlsafe(32)


def origin_of(server: str) -> str:
    """`https://host[:port]` of an address of the site. Raises PairingError for what is none, or is not safe to use."""
    parts = urlsplit(server.strip())
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise PairingError(f"{server!r} is no address of a site: name it like https://reading.example.")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise PairingError(
            f"http://{host} would carry this station's credential in the clear: use https://{host} (http is for a "
            "server on this computer only)."
        )
    name = f"[{host}]" if ":" in host else host
    standard = port in (None, 443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{name}" if standard else f"{parts.scheme}://{name}:{port}"


def origins_of(origin: str) -> tuple[str, ...]:
    """The origins of the site's pages: its own, and for a server on this computer both names that people use."""
    parts = urlsplit(origin)
    if parts.hostname not in LOOPBACK:
        return (origin,)
    port = f":{parts.port}" if parts.port else ""
    return tuple(f"{parts.scheme}://{host}{port}" for host in ("localhost", "127.0.0.1"))


def version() -> str:
    try:
        return metadata.version("gazeroom")
    except metadata.PackageNotFoundError:
        return "unknown"


class Presence:
    """Tells the server every so often that this station is there, and hears whether it is still welcome.

    `describe()` answers what is told: `{"tracker", "display"}`. `refused` is the server's sentence while it refuses
    this station; `reached` whether it answered the last time (None before the first).
    """

    def __init__(self, pairing: Pairing, describe: Callable[[], dict[str, Any]], every_s: float = SPEAK_S) -> None:
        self._pairing, self._describe, self._every_s = pairing, describe, every_s
        self._stopping = threading.Event()
        self._told: dict[str, Any] = {}
        self.refused: str | None = None
        self.reached: bool | None = None

    def start(self) -> None:
        """Speak from now on, in a thread that holds up nobody's end: a server may be slow to answer."""
        threading.Thread(target=self._run, name="gazeroom-presence", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.speak()
            due = time.monotonic() + (self._every_s if self.reached else min(self._every_s, RETRY_S))
            while (left := due - time.monotonic()) > 0 and not self._stopping.wait(min(left, NOTICE_S)):
                if self.reached and self._describe() != self._told:
                    break  # a tracker came or went

    def speak(self) -> None:
        """Once."""
        self._told = self._describe()
        try:
            say_here(self._pairing, self._told)
        except Refused as refusal:
            if refusal.status in (401, 403):
                if self.refused != str(refusal):
                    log.error("the server refuses this station: %s", refusal)
                self.refused, self.reached = str(refusal), True
            else:
                self.reached = False
        except PairingError as error:
            if self.reached is not False:
                log.warning("%s", error)
            self.reached = False
        else:
            self.refused, self.reached = None, True


def say_here(pairing: Pairing, description: dict[str, Any]) -> None:
    """Tell the server that this station is there. Raises PairingError, or Refused with the server's sentence."""
    url = f"{pairing.server}/capture/stations/seen/"
    _post(url, {"version": version(), **description}, credential=pairing.credential)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A secret goes to the address it was meant for, and nowhere else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _post(url: str, body: dict[str, Any], credential: str = "") -> dict[str, Any]:
    """The JSON object the server answers. Raises Refused when it says no, PairingError when it cannot be asked."""
    site = origin_of(url)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    local = urlsplit(url).hostname in LOOPBACK
    handlers: list[Any] = [_NoRedirect(), *([urllib.request.ProxyHandler({})] if local else [])]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE_S) as response:
            answer = json.loads(response.read(_LIMIT))
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:
            where = error.headers.get("Location", "another address")
            raise PairingError(f"{site} sends on to {where}: pair with the address that readers use.") from None
        try:
            sentence = str(json.loads(error.read(_LIMIT))["error"])
        except (OSError, ValueError, KeyError, TypeError):
            sentence = f"{site} answered HTTP {error.code} and no sentence: is it a Gazeroom site of this version?"
        raise Refused(error.code, sentence) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise PairingError(
                f"The certificate of {site} is not trusted by this computer ({reason.verify_message}): "
                "install the authority that signed it."
            ) from None
        if isinstance(error, ValueError | http.client.HTTPException):
            raise PairingError(f"{site} did not answer as a Gazeroom site does: check the address.") from None
        said = getattr(reason, "strerror", None) or reason or type(error).__name__
        raise PairingError(f"{site} cannot be reached ({said}): check the address and the network.") from None
    if not isinstance(answer, dict):
        raise PairingError(f"{site} did not answer as a Gazeroom site does: check the address.")
    return answer
