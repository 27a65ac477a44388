"""Which of a stream's channels is what, and in what unit: by their own metadata, checked against what they carry.

A channel is recognised by its type and eye, never by its place in the stream. Where a program's metadata are known to
say too little or something untrue, what the channel carries decides, and if that cannot decide the stream is refused
with a sentence: a wrong guess would put every gaze point in the wrong place without anybody noticing.

What has no place among the 30 channels of `capture.frames.GAZE_CHANNELS`, and what had to be converted, is kept beside
them as it was sent (`capture.frames.SOURCE`): nothing a tracker says is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.frames import EYES, GAZE_CHANNELS, channel_label

Array = NDArray[np.float64]

#: Finite screen coordinates that are looked at before a unit is believed.
ENOUGH = 20
#: Normalised gaze leaves the display, but not by more than a display's width or height.
NORMALISED = (-1.0, 2.0)
#: Human pupils, millimetres.
PUPIL_MM = (1.0, 10.0)

SCREEN_UNITS = ("normalized", "pixels", "mm")

_NORMALISED = {"normalized", "normalised", "norm", "fraction", "relative", "adcs"}
_PIXELS = {"pixels", "pixel", "px"}
_MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres"}
_LENGTH = {**dict.fromkeys(_MILLIMETRES, 1.0), "cm": 10.0, "m": 1000.0, "meters": 1000.0, "metres": 1000.0, "um": 1e-3}
_TIME = {
    **dict.fromkeys(("us", "µs", "microseconds", "microsecond", "usec"), 1.0),
    **dict.fromkeys(("ns", "nanoseconds", "nsec"), 1e-3),
    **dict.fromkeys(("ms", "milliseconds", "msec"), 1e3),
    **dict.fromkeys(("s", "sec", "seconds", "second"), 1e6),
}

#: (kind, what its unit measures, type written small without separators, what the label must contain).
#: Types of the XDF Gaze meta-data specification first, then those that programs in use write instead.
_KINDS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("ScreenX", "screen", ("screenx",), ""),
    ("ScreenY", "screen", ("screeny",), ""),
    ("ScreenValid", "flag", ("screenvalid",), ""),
    ("ScreenValid", "flag", ("validflag",), "gaze_point"),
    ("IntersectionX", "length", ("intersectionx",), ""),
    ("IntersectionY", "length", ("intersectiony",), ""),
    ("IntersectionZ", "length", ("intersectionz",), ""),
    ("Diameter", "pupil", ("diameter", "pupilsize", "pupildiameter"), ""),
    ("DiameterValid", "flag", ("diametervalid",), ""),
    ("DiameterValid", "flag", ("validflag",), "pupil"),
    ("PositionX", "length", ("positionx",), ""),
    ("PositionY", "length", ("positiony",), ""),
    ("PositionZ", "length", ("positionz",), ""),
    # Titta calls the eye's position so; the specification means the pupil in the eye camera's picture by these.
    ("PositionX", "length", ("pupilx",), "gaze_origin"),
    ("PositionY", "length", ("pupily",), "gaze_origin"),
    ("PositionZ", "length", ("pupilz",), "gaze_origin"),
    ("PositionValid", "flag", ("positionvalid",), ""),
    ("PositionValid", "flag", ("validflag",), "gaze_origin"),
    ("Openness", "length", ("openness", "eyelidopenness", "eyeliddistance"), ""),
    ("OpennessValid", "flag", ("opennessvalid",), ""),
    ("OpennessValid", "flag", ("validflag",), "openness"),
    ("FrameNumber", "count", ("framenumber",), ""),
    ("DeviceTimeStamp", "time", ("devicetimestamp",), ""),
)
_MEASURES = {kind: measure for kind, measure, _, _ in _KINDS}
_COMMON = {"FrameNumber", "DeviceTimeStamp"}
#: Places of one eye's ScreenX, ScreenY and ScreenValid.
_EYE_PLACES = tuple(
    tuple(GAZE_CHANNELS.index(channel_label(eye, kind)) for kind in ("ScreenX", "ScreenY", "ScreenValid"))
    for eye in EYES
)
#: Frames of reference in which a position on the display, or of the eye before it, is given.
_DISPLAY_FRAMES = {"", "display", "screen", "surface", "monitor", "user", "tracker", "usercoordinatesystem"}


class Unusable(ValueError):  # noqa: N818 - it names a property of the stream
    """The stream cannot be recorded as it is. The message is one sentence with the remedy."""


class Undecided(Exception):  # noqa: N818
    """Too little has been seen to know the unit: someone must look at the screen first."""


@dataclass(frozen=True)
class Channel:
    """What a stream says of one channel; empty where it says nothing."""

    label: str = ""
    type: str = ""
    unit: str = ""
    eye: str = ""
    coordinates: str = ""

    @property
    def name(self) -> str:
        return self.label or self.type or "an undescribed channel"


@dataclass(frozen=True)
class ChannelMap:
    """Where a stream's channels belong among the 30 of `capture.frames.GAZE_CHANNELS`.

    `source`, `target` and `scale` are equally long: standard[:, target] = stream[:, source] * scale. Standard channels
    the stream does not have stay NaN. `raw` are the stream's channels that are kept as they were sent as well, named
    and measured by `raw_labels`, `raw_units`. `open_screen` and `open_pupil` are the targets whose unit has still to
    be found by looking (`settle`). `remarks` say in sentences what is unusual about the stream.
    """

    source: NDArray[np.intp]
    target: NDArray[np.intp]
    scale: Array
    channels: tuple[Channel, ...]
    display: Mapping[str, float | None]
    open_screen: tuple[int, ...] = ()
    open_pupil: tuple[int, ...] = ()
    raw: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def present(self) -> list[str]:
        return [GAZE_CHANNELS[i] for i in self.target]

    @property
    def raw_labels(self) -> list[str]:
        names: list[str] = []
        for i in self.raw:
            label = self.channels[i].label or f"channel{i + 1}"
            names.append(label if label not in names else f"{label}#{i + 1}")
        return names

    @property
    def raw_units(self) -> list[str]:
        return [self.channels[i].unit for i in self.raw]

    def standard(self, t: Array, samples: NDArray[Any]) -> Array:
        """Samples [n, stream channels] at times t [n] as float64 [n, 1 + 30]."""
        out = np.full((len(t), 1 + len(GAZE_CHANNELS)), np.nan)
        out[:, 0] = t
        out[:, 1 + self.target] = samples[:, self.source] * self.scale
        sent = dict(zip(self.target.tolist(), self.source.tolist(), strict=True))
        for x, y, valid in _EYE_PLACES:
            # Without a word for it, "no eye was seen" is exactly zero or minus one in both: kept so, and said to be so.
            if valid not in sent and x in sent and y in sent:
                pair = samples[:, [sent[x], sent[y]]]
                nobody = (pair == 0).all(axis=1) | (pair == -1).all(axis=1)
                out[nobody, 1 + valid] = 0.0
        return out

    def beside(self, t: Array, samples: NDArray[Any]) -> Array | None:
        """The channels kept as they were sent, float64 [n, 1 + k] with the time first; None when there are none."""
        if not self.raw:
            return None
        return np.column_stack([t, samples[:, list(self.raw)].astype(np.float64)])

    def settle(self, t: Array, samples: NDArray[Any], *, patient: bool = True) -> ChannelMap:
        """The map with every unit known, after a look at the stream's first samples [n, stream channels].

        Raises Undecided while nobody looks at the screen and the metadata do not tell (`patient` False: only
        contradictions are looked for), and Unusable when what is sent contradicts what is said.
        """
        out = self._settle_screen(samples, patient)
        out = out._settle_pupil(samples)
        return out._settle_device_time(t, samples)

    def _settle_screen(self, samples: NDArray[Any], patient: bool) -> ChannelMap:
        places = [k for k, target in enumerate(self.target) if _kind(int(target)) in ("ScreenX", "ScreenY")]
        seen = samples[:, self.source[places]].astype(np.float64)
        # Programs without a word for "no eye was seen" send zeros or minus ones: those are no evidence of a unit.
        seen = seen[np.isfinite(seen) & (seen != 0) & (seen != -1)]
        inside = float(np.mean((seen >= NORMALISED[0]) & (seen <= NORMALISED[1]))) if seen.size else 0.0
        if seen.size < 2 * ENOUGH:
            if self.open_screen and patient:
                raise Undecided
            return self
        unit = self.channels[int(self.source[places[0]])].unit
        example = f"{float(np.median(np.abs(seen))):.4g}"
        if self.open_screen:
            if inside >= 0.95:
                return replace(
                    self,
                    open_screen=(),
                    remarks=(*self.remarks, f"its unit of gaze, '{unit}', tells nothing; it is normalised."),
                )
            raise Unusable(
                f"its gaze has the unit '{unit}' and values such as {example}, which are not 0 to 1: say with "
                "--screen-unit pixels or --screen-unit mm what they are."
            )
        scaled = any(self.scale[k] != 1.0 for k in places)
        if not scaled and inside < 0.5:
            raise Unusable(
                f"its gaze is said to be normalised ('{unit}') but has values such as {example}: correct the unit in "
                "its LSL program, or say with --screen-unit what they are."
            )
        if scaled and inside >= 0.95:
            raise Unusable(
                f"its gaze is said to be in '{unit}' but all of it lies between {NORMALISED[0]:g} and "
                f"{NORMALISED[1]:g}, as normalised gaze does: correct the unit, or say --screen-unit normalized."
            )
        return self

    def _settle_pupil(self, samples: NDArray[Any]) -> ChannelMap:
        if not self.open_pupil:
            return self
        keep = np.ones(len(self.target), dtype=bool)
        remarks, raw = list(self.remarks), list(self.raw)
        for k, target in enumerate(self.target):
            if int(target) not in self.open_pupil:
                continue
            values = samples[:, self.source[k]].astype(np.float64)
            values = values[np.isfinite(values) & (values != 0)]
            name = self.channels[int(self.source[k])].name
            if len(values) and PUPIL_MM[0] <= float(np.median(values)) <= PUPIL_MM[1]:
                remarks.append(f"'{name}' has no unit; by its values it is millimetres.")
                continue
            keep[k] = False
            raw.append(int(self.source[k]))
            remarks.append(f"'{name}' has no unit that is known; it is kept as sent and not used as a diameter.")
        return replace(
            self,
            source=self.source[keep],
            target=self.target[keep],
            scale=self.scale[keep],
            open_pupil=(),
            raw=tuple(sorted(set(raw))),
            remarks=tuple(remarks),
        )

    def _settle_device_time(self, t: Array, samples: NDArray[Any]) -> ChannelMap:
        """Titta's 37th channel is the device's time in seconds, but its metadata describe 36.

        It is taken for that only if it runs as the LSL time does.
        """
        place = GAZE_CHANNELS.index("DeviceTimeStamp")
        bare = [i for i, channel in enumerate(self.channels) if channel == Channel()]
        if place in self.target or len(bare) != 1 or not any("gaze_point" in c.label for c in self.channels):
            return self
        values = samples[:, bare[0]].astype(np.float64)
        spans = np.diff(t), np.diff(values)
        good = np.isfinite(spans[0]) & np.isfinite(spans[1])
        if good.sum() < ENOUGH or not (spans[1][good] > 0).all():
            return self
        if abs(float(spans[1][good].sum() / spans[0][good].sum()) - 1) > 0.01:
            return self
        return replace(
            self,
            source=np.append(self.source, bare[0]),
            target=np.append(self.target, place),
            scale=np.append(self.scale, 1e6),
            remarks=(*self.remarks, "its undescribed last channel runs as a clock in seconds: the device's time."),
        )


def map_channels(
    channels: Iterable[Channel | tuple[str, ...]],
    *,
    display: Mapping[str, float | None] | None = None,
    float32: bool = False,
    screen_unit: str | None = None,
) -> ChannelMap:
    """The map for a stream with these channels (`Channel`, or tuples of its fields), in the stream's order.

    Parameters
    ----------
    display
        What the stream says of its display; needed for gaze in pixels or millimetres.
    float32
        The stream carries 32-bit floats: whole numbers above 16 777 216 are lost in them, so its frame numbers and
        device times are kept as sent but not relied on.
    screen_unit
        One of `SCREEN_UNITS`, said by a person: instead of what the metadata say of ScreenX and ScreenY.

    Raises
    ------
    Unusable
        No eye has gaze on the display, two channels claim to be the same eye's gaze, or its unit cannot be converted.
    """
    given = tuple(c if isinstance(c, Channel) else _channel(c) for c in channels)
    display = display or {}
    wanted = {label.lower(): i for i, label in enumerate(GAZE_CHANNELS)}
    found: dict[int, tuple[int, float]] = {}
    raw: set[int] = set()
    open_screen: list[int] = []
    open_pupil: list[int] = []
    remarks: list[str] = []
    scene = False
    combined = False

    for index, channel in enumerate(given):
        kind, eyes = _recognise(channel, wanted)
        if kind is None:
            raw.add(index)
            continue
        measure = _MEASURES[kind]
        if measure in ("screen", "length") and not _on_display(channel.coordinates):
            scene |= measure == "screen"
            raw.add(index)
            continue
        if float32 and kind in _COMMON:
            remarks.append(f"'{channel.name}' is a 32-bit float, which loses whole numbers: it is kept but not used.")
            raw.add(index)
            continue
        scale = _scale(kind, measure, channel, display, screen_unit)
        asks = measure == "screen" or (measure == "pupil" and not channel.unit.strip())
        if scale is None and not asks:
            remarks.append(f"'{channel.name}' has the unit '{channel.unit}', which is not known: it is kept as sent.")
            raw.add(index)
            continue
        for eye in eyes:
            place = wanted[channel_label(eye, kind).lower()]
            if place in found:
                if measure == "screen" and not combined:
                    other = given[found[place][0]].name
                    raise Unusable(
                        f"its channels '{other}' and '{channel.name}' both claim to be {kind} of the {eye} eye: leave "
                        "one out in its LSL program."
                    )
                raw.add(index)
                continue
            found[place] = index, 1.0 if scale is None else scale
            if scale is None:
                (open_screen if measure == "screen" else open_pupil).append(place)
            elif scale != 1.0:
                raw.add(index)
        combined |= measure == "screen" and len(eyes) == 2
    if not any({wanted[f"{eye}screenx"], wanted[f"{eye}screeny"]} <= found.keys() for eye in EYES):
        if scene:
            raise Unusable(
                "its gaze lies in the picture of a scene camera, not on a display: have the tracker's program map gaze "
                "onto the display (a surface marked at its corners) and publish that."
            )
        raise Unusable("The stream has no channels of type ScreenX and ScreenY with an eye in its metadata.")
    if combined:
        remarks.append("it gives one gaze for both eyes; it is recorded for each.")
    target = np.array(sorted(found), dtype=np.intp)
    return ChannelMap(
        np.array([found[int(i)][0] for i in target], dtype=np.intp),
        target,
        np.array([found[int(i)][1] for i in target]),
        given,
        dict(display),
        tuple(open_screen),
        tuple(open_pupil),
        tuple(sorted(raw)),
        tuple(remarks),
    )


def _channel(fields: Sequence[str]) -> Channel:
    """(label, type, eye) or (label, type, unit, eye[, coordinates]); without a unit the standard one is meant."""
    if len(fields) == 3:
        label, kind, eye = fields
        return Channel(label, kind, "standard", eye)
    return Channel(*fields)


def _plain(text: str) -> str:
    return re.sub(r"[\s_.-]", "", text.strip().lower())


def _recognise(channel: Channel, wanted: Mapping[str, int]) -> tuple[str | None, tuple[str, ...]]:
    """The kind of a channel and the eyes it belongs to ("" for none); (None, ()) if it has no place."""
    kind, eye = _plain(channel.type), channel.eye.strip().lower()
    eyes = {"left": ("left",), "right": ("right",), "l": ("left",), "r": ("right",)}.get(eye, ())
    for name, measure, types, part in _KINDS:
        if kind not in types or part not in channel.label.lower():
            continue
        if name in _COMMON:
            return name, ("",)
        if eyes:
            return name, eyes
        if measure == "screen" and eye in ("both", "binocular", "cyclopean", "combined"):
            return name, EYES
    # Without type or eye, the label may be one of ours.
    place = wanted.get(channel.label.strip().lower())
    if place is None or (kind and eyes):
        return None, ()
    label = GAZE_CHANNELS[place]
    for name in EYES:
        if label.startswith(name.capitalize()):
            return label[len(name) :], (name,)
    return label, ("",)


def _kind(target: int) -> str:
    label = GAZE_CHANNELS[target]
    return label[4:] if label.startswith("Left") else label[5:] if label.startswith("Right") else label


def _on_display(coordinates: str) -> bool:
    return _plain(coordinates) in _DISPLAY_FRAMES


def _scale(
    kind: str, measure: str, channel: Channel, display: Mapping[str, float | None], screen_unit: str | None
) -> float | None:
    """What the channel is multiplied by; None when its unit does not tell."""
    unit = channel.unit.strip().lower()
    if measure == "screen":
        unit = screen_unit or unit
        side = "width" if kind == "ScreenX" else "height"
        if unit in _NORMALISED or unit == "standard":
            return 1.0
        if unit in _PIXELS or (screen_unit and unit in _MILLIMETRES):
            key = f"{side}_{'px' if unit in _PIXELS else 'mm'}"
            extent = display.get(key)
            if not extent:
                raise Unusable(
                    f"its gaze is in {'pixels' if unit in _PIXELS else 'millimetres'} and it does not say how large "
                    f"its display is: add {key} to the display in its metadata."
                )
            return 1.0 / extent
        if unit in _MILLIMETRES:
            raise Unusable(
                "its gaze is in millimetres, whose origin on the display is not told: publish it normalised, or say "
                "--screen-unit mm if they count from the display's top left corner."
            )
        return None
    if unit == "standard" or measure in ("flag", "count"):
        return 1.0
    if measure == "time":
        return _TIME.get(unit)
    return _LENGTH.get(unit)
