"""Lab Streaming Layer as the agent, the simulator and the tests use it: one place for its configuration and its traps.

* Discovery is confined to this machine (`ResolveScope=machine`), and a session id keeps several installations on one
  machine apart. A session other than the default one also gets its own block of ports, because LSL has only 32 for
  everybody and silently becomes undiscoverable when they run out. A third-party tracker program that is to be found
  must run in the same session: give it the text of `configuration(session)` as its `LSLAPICFG` file, or leave the
  session at its default.
* Channels are found by their metadata (eye and type), never by their position (`capture.agent.sources.layout`).
* Timestamps stay as they were sent: no dejitter, no clock sync. `time_correction` gives the correction as data.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from capture.agent.sources.layout import Channel
from capture.frames import STANDARD_CHANNELS

log = logging.getLogger(__name__)

GAZE_TYPE = "Gaze"
MARKER_TYPE = "Markers"
STIMULUS_NAME = "gazeroom-stimulus"
#: Source ids of streams that an agent re-publishes begin so: no tracker's does.
REPUBLISHED = "gazeroom-"
DEFAULT_SESSION = "default"
SESSION_VARIABLE = "GAZEROOM_LSL_SESSION"

_configured: str | None = None


class LslMissing(RuntimeError):  # noqa: N818 - named after what the person at the station has to hear
    """liblsl cannot be used here. The message names the remedy."""


def configuration(session: str = DEFAULT_SESSION) -> str:
    """The text of an LSLAPICFG file: this machine only, this session only."""
    if not session or not session.isascii() or not session.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"The LSL session id {session!r} must be letters, digits, '-' and '_'.")
    ports = "IPv6=disable\n"
    if session != DEFAULT_SESSION:
        # 300 blocks of 40 ports below the range Linux hands out to clients.
        base = 20000 + zlib.crc32(session.encode()) % 300 * 40
        ports += f"MulticastPort={base}\nBasePort={base + 1}\nPortRange=38\n"
    return (
        f"[ports]\n{ports}[multicast]\nResolveScope=machine\n"
        f"[lab]\nKnownPeers={{127.0.0.1}}\nSessionID={session}\n[log]\nlevel=-2\n"
        # Everybody is on this machine: ask again after 0.1 s where the defaults wait for a network.
        "[tuning]\nMulticastMinRTT=0.1\nMulticastMaxRTT=0.5\nUnicastMinRTT=0.1\nUnicastMaxRTT=0.5\n"
    )


def load(session: str | None = None) -> ModuleType:
    """pylsl, configured for `session` (by default what is already configured, $GAZEROOM_LSL_SESSION, or "default").

    liblsl reads its configuration once per process, at its first use: a second call with another session raises
    RuntimeError. Raises LslMissing when the library cannot be loaded.
    """
    global _configured
    session = session or _configured or os.environ.get(SESSION_VARIABLE) or DEFAULT_SESSION
    if _configured not in (None, session):
        raise RuntimeError(f"LSL already runs in session {_configured!r}; a process cannot change to {session!r}.")
    text = configuration(session)
    try:
        import pylsl
    except ImportError as error:
        raise LslMissing("pylsl is not installed: pip install 'gazeroom[agent]'.") from error
    except RuntimeError as error:
        raise LslMissing(
            "liblsl cannot be loaded: this platform's pylsl wheel carries no library or one that does not fit (Linux "
            "needs glibc 2.35 or newer): install liblsl from github.com/sccn/liblsl/releases and set PYLSL_LIB to it."
        ) from error
    if _configured is None:
        if os.environ.get("LSLAPICFG") and session == DEFAULT_SESSION:
            log.info("LSL is configured by LSLAPICFG=%s", os.environ["LSLAPICFG"])
        elif hasattr(pylsl, "set_config_content"):
            pylsl.set_config_content(text)
        else:
            handle, name = tempfile.mkstemp(prefix="gazeroom-lsl-", suffix=".cfg")
            os.write(handle, text.encode())
            os.close(handle)
            os.environ["LSLAPICFG"] = name
            atexit.register(Path(name).unlink, missing_ok=True)
        _configured = session
    return pylsl


# ── describing a gaze stream ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Display:
    """The tracked display: device pixels, millimetres, and the viewing distance in millimetres."""

    width_px: int = 1280
    height_px: int = 800
    width_mm: float = 344.0
    height_mm: float = 215.0
    distance_mm: float = 600.0

    def to_dict(self) -> dict[str, float]:
        return {
            "width_px": self.width_px,
            "height_px": self.height_px,
            "width_mm": self.width_mm,
            "height_mm": self.height_mm,
            "distance_mm": self.distance_mm,
        }


def gaze_info(
    *,
    name: str,
    source_id: str,
    rate_hz: float,
    display: Display | Mapping[str, float | None],
    acquisition: Mapping[str, str],
    channels: Iterable[tuple[str, str, str, str]] | None = None,
    channel_format: int | None = None,
) -> Any:
    """A pylsl StreamInfo of type Gaze with full metadata.

    `channels` is (label, type, unit, eye) per channel; by default `capture.frames.STANDARD_CHANNELS`. What the
    display does not say (None) is left out. `channel_format` is one of pylsl's, by default 64-bit floats.
    """
    pylsl = load()
    layout = list(channels if channels is not None else STANDARD_CHANNELS)
    info = pylsl.StreamInfo(name, GAZE_TYPE, len(layout), rate_hz, channel_format or pylsl.cf_double64, source_id)
    desc = info.desc()
    node = desc.append_child("channels")
    for label, kind, unit, eye in layout:
        channel = node.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("type", kind)
        channel.append_child_value("unit", unit)
        channel.append_child_value("eye", eye)
    node = desc.append_child("acquisition")
    for key, value in acquisition.items():
        node.append_child_value(key, value)
    node = desc.append_child("display")
    for key, number in (display.to_dict() if isinstance(display, Display) else display).items():
        if number is not None:
            node.append_child_value(key, f"{number:g}")
    return info


def is_republished(source_id: str) -> bool:
    """Whether an agent published this stream: for others to read, and no tracker."""
    return source_id.startswith(REPUBLISHED)


def read_channels(info: Any) -> list[Channel]:
    """What a full StreamInfo says of each of its channels; empty where the metadata are silent.

    Some programs (Pupil Labs' companion relay) write a channel's type as `metatype`.
    """
    out = []
    node = info.desc().child("channels").child("channel")
    for _ in range(info.channel_count()):
        kind = node.child_value("type") or node.child_value("metatype")
        label, unit, eye, coordinates = (node.child_value(key) for key in ("label", "unit", "eye", "coordinate_system"))
        out.append(Channel(label, kind, unit, eye, coordinates))
        node = node.next_sibling("channel")
    return out


def read_children(info: Any, name: str) -> dict[str, str]:
    """The text children of one element under `desc`, such as acquisition or display."""
    out = {}
    node = info.desc().child(name).first_child()
    while not node.empty():
        if node.name():
            out[node.name()] = node.child_value()
        node = node.next_sibling()
    return out


def read_display(info: Any) -> dict[str, float | None]:
    """The display geometry a stream announces; None for what it does not say."""
    values = read_children(info, "display")
    out: dict[str, float | None] = {}
    for key in Display().to_dict():
        try:
            number = float(values[key])
        except (KeyError, ValueError):
            out[key] = None
        else:
            out[key] = int(number) if key.endswith("_px") else number
    return out


def time_correction(inlet: Any, timeout: float) -> tuple[float, float, float]:
    """(correction, uncertainty, remote time) of an inlet in seconds, as liblsl measures them.

    Blocks up to `timeout` seconds for the first estimate (about 0.6 s), then returns at once. Raises TimeoutError, or
    pylsl's LostError when the stream is gone.
    """
    from pylsl.lib import lib
    from pylsl.util import handle_error

    call = lib.lsl_time_correction_ex
    call.restype = ctypes.c_double
    remote, uncertainty, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
    value = call(
        inlet.obj, ctypes.byref(remote), ctypes.byref(uncertainty), ctypes.c_double(timeout), ctypes.byref(code)
    )
    handle_error(code)
    return value, uncertainty.value, remote.value
