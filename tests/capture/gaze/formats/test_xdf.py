"""The XDF file: pyxdf opens what we write, and we read what others, crashes and copies leave of a file."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.gaze.formats import xdf
from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.xdf import Stream
from capture.gaze.formats.xdf_reading import raw_stream, streams_of
from tests.reference import REFERENCE, needs_reference

from .readings import make_reading


@pytest.fixture(autouse=True)
def _pyxdf_says_less(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="pyxdf")


def file_of(*streams: Stream) -> bytes:
    out = io.BytesIO()
    xdf.write(out, streams)
    return out.getvalue()


def load(data: bytes, **options: Any) -> Any:
    options = {"dejitter_timestamps": False, "synchronize_clocks": False, **options}
    return pyxdf.load_xdf(io.BytesIO(data), **options)[0]


def gaze(n: int = 900, channels: int = 3, rate: float = 300.0, seed: int = 0) -> Stream:
    rng = np.random.default_rng(seed)
    t = 52_345.678 + np.arange(n) / rate + rng.uniform(0, 1e-4, n)
    values = rng.normal(0, 1e9, (n, channels))
    values[rng.random(n) < 0.05] = np.nan
    offsets = np.column_stack([t[:: max(1, n // 5)], rng.normal(-2e-5, 1e-6, len(t[:: max(1, n // 5)]))])
    named = [(f"Channel{i}", "ScreenX", "normalized", "left") for i in range(channels)]
    return Stream("gaze", "Gaze", t, values, named, rate, offsets, "tobii-1", {"acquisition": {"model": "A & <B>"}})


def words() -> Stream:
    return Stream("notes", "Markers", np.array([52_345.7, 52_346.0]), ["first", "zwölf\tund\n" + "x" * 300])


# ── what is written ───────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 700),
    channels=st.integers(1, 40),
    rate=st.sampled_from([0.0, 30.0, 300.0, 1200.0]),
    seed=st.integers(0, 99),
)
def test_pyxdf_reads_every_time_and_value_back_exactly(n: int, channels: int, rate: float, seed: int) -> None:
    stream = gaze(n, channels, rate or 100.0, seed)
    stream = Stream(**{**stream.__dict__, "rate_hz": rate})
    (back,) = load(file_of(stream))
    np.testing.assert_array_equal(back["time_stamps"], stream.t, strict=True)
    np.testing.assert_array_equal(back["time_series"], stream.values)
    assert back["info"]["channel_format"] == ["double64"]
    assert float(back["info"]["nominal_srate"][0]) == rate
    assert int(back["footer"]["info"]["sample_count"][0]) == n
    np.testing.assert_array_equal(
        np.column_stack([back["clock_times"], back["clock_values"]]).reshape(-1, 2), stream.offsets
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), min_size=1, max_size=6))
def test_text_of_any_kind_comes_back(texts: list[str]) -> None:
    stream = Stream("notes", "Markers", np.arange(len(texts), dtype=float), texts)
    assert [row[0] for row in load(file_of(stream))[0]["time_series"]] == texts


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_metadata_may_hold_what_xml_may_not(text: str) -> None:
    stream = Stream("notes", "Markers", np.zeros(0), [], desc={"about": {"note": text}})
    data = file_of(stream)
    load(data)
    assert len(xdf.mend(data).data) == len(data)


def test_clock_offsets_are_those_that_lsl_adds(tmp_path: Path) -> None:
    # time_correction() is what one adds to a remote time; XDF keeps it with the time on the remote clock.
    clock = np.array([[100.0, 5.0, 1e-5, 94.9], [110.0, 5.0, 1e-5, 104.9]])
    samples = np.column_stack([np.arange(95.0, 106.0), np.zeros(11)])
    stream = raw_stream(name="g", kind="Gaze", samples=samples, channels=[], rate_hz=1.0, clock=clock)
    (raw,) = load(file_of(stream))
    assert raw["clock_times"] == [95.0, 105.0]
    (synced,) = load(file_of(stream), synchronize_clocks=True)
    np.testing.assert_allclose(synced["time_stamps"], samples[:, 0] + 5.0)


def test_a_reading_carries_channels_display_device_and_its_derived_streams() -> None:
    out = {s["info"]["name"][0]: s for s in load(file_of(*streams_of(make_reading())))}
    assert set(out) == {"gaze", "gazeroom-track", "gazeroom-fixations", "gazeroom-viewport", "gazeroom-sentences"}
    desc = out["gaze"]["info"]["desc"][0]
    assert len(desc["channels"][0]["channel"]) == 30
    assert desc["channels"][0]["channel"][0]["label"] == ["LeftScreenX"]
    assert desc["acquisition"][0]["manufacturer"] == ["Tobii & <Co>"]
    assert float(desc["display"][0]["width_mm"][0]) == 527
    assert len(out["gaze"]["clock_times"]) == 4


# ── what is left of a file ────────────────────────────────────────────────────────────────────────────────────────────


def good_part(data: bytes, whole: Stream) -> int:
    """Samples in the file; they are the whole's first, untouched."""
    found = load(data)
    stream = next((s for s in found if s["info"]["name"] == ["gaze"]), None)
    if stream is None:
        return 0
    n = len(stream["time_stamps"])
    np.testing.assert_array_equal(stream["time_stamps"], whole.t[:n])
    np.testing.assert_array_equal(stream["time_series"], whole.values[:n])  # type: ignore[index]
    return n


@settings(max_examples=80, deadline=None)
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_is_read_up_to_its_last_whole_chunk(share: float) -> None:
    whole = gaze(900, 3)
    data = file_of(whole, words())
    cut = int(share * len(data))
    first_stream = next(
        end for at, end in xdf._whole_chunks(data) if xdf._header(whole)["name"].encode() in data[at:end]
    )
    if cut < first_stream:
        with pytest.raises(FormatError, match=r"XDF|before a stream is described"):
            xdf.mend(data[:cut])
        return
    mended = xdf.mend(data[:cut])
    n = good_part(mended.data, whole)
    # A chunk of a second is 300 samples of 33 bytes.
    assert n >= 300 * ((cut - data.find(xdf.BOUNDARY)) // (300 * 33 + 1200)) - 300
    assert mended.dropped <= 300 * 33 + 100


def test_every_cut_of_the_end_and_of_one_chunk_is_read() -> None:
    whole = gaze(40, 2, rate=20.0)
    data = file_of(whole, words())
    samples = [good_part(xdf.mend(data[:cut]).data, whole) for cut in range(data.find(xdf.BOUNDARY), len(data) + 1)]
    assert samples == sorted(samples)
    assert samples[-1] == 40


def test_pyxdf_itself_opens_a_cut_file_wherever_it_can() -> None:
    """After the headers and clock offsets, pyxdf fails only where a chunk's two-byte tag is cut, in any file.

    Which is why small chunks that it cannot lose come first, and why our reader mends before it reads.
    """
    data = file_of(gaze(40, 2, rate=20.0), words())
    start = data.find(xdf.BOUNDARY) + len(xdf.BOUNDARY)
    tags = {at + 1 + data[at] for at, _ in xdf._whole_chunks(data)}
    for cut in range(start, len(data) + 1):
        if cut in tags or cut - 1 in tags:
            with pytest.raises(Exception, match="unpack"):
                load(data[:cut])
        else:
            load(data[:cut])


@settings(max_examples=80, deadline=None)
@given(at=st.floats(0, 1), junk=st.binary(min_size=1, max_size=40))
def test_damage_anywhere_costs_its_own_chunks_only(at: float, junk: bytes) -> None:
    whole = gaze(900, 3)
    data = bytearray(file_of(whole))
    start = data.find(xdf.BOUNDARY)
    place = start + int(at * (len(data) - start - len(junk)))
    data[place : place + len(junk)] = junk
    (back,) = load(xdf.mend(bytes(data)).data)
    # Two chunks at most are lost: one that is hit, or two at whose border it lies.
    assert len(back["time_stamps"]) >= 300
    known = np.isin(back["time_stamps"], whole.t)
    assert (~known).sum() <= len(junk)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_a_sentence(data: bytes) -> None:
    for start in (b"", b"XDF:", b"XDF:" + xdf._chunk(2, xdf._xml(xdf._header(gaze(0))), 1)):
        refused: str | None = None
        try:
            load(xdf.mend(start + data).data)
        except FormatError as refusal:
            refused = str(refusal)
        assert refused is None or refused.endswith(".")


@pytest.mark.parametrize(("kind", "count"), [("double64", 2**40), ("string", 2**31), ("string", 50), ("int16", 2**33)])
def test_a_chunk_that_claims_more_than_it_holds_is_dropped(kind: str, count: int) -> None:
    header = {**xdf._header(gaze(0, 2)), "channel_format": kind}
    claim = b"\x08" + count.to_bytes(8, "little") + b"\x00" * 40
    data = b"XDF:" + xdf._chunk(2, xdf._xml(header), 1) + xdf._chunk(3, claim, 1)
    mended = xdf.mend(data)
    assert mended.dropped == len(xdf._chunk(3, claim, 1))


def test_entities_in_a_header_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE i [<!ENTITY a "aaaaaaaaaa">]><info><channel_count>1</channel_count></info>'
    with pytest.raises(FormatError, match="before a stream is described"):
        xdf.mend(b"XDF:" + xdf._chunk(2, bomb, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "does not begin with"), (b"PK\x03\x04", "does not begin with"), (b"XDF:", "before a stream is described")],
)
def test_what_is_no_xdf_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "session.xdf"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"session\.xdf.*{words}"):
        xdf.read(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone\.xdf cannot be read: No such file"):
        xdf.read(tmp_path / "gone.xdf")


@needs_reference
@pytest.mark.parametrize(
    ("name", "samples"), [("minimal", [9, 9]), ("empty_streams", [0, 10, 1, 0]), ("clock_resets", [175, 27815])]
)
def test_files_of_others_are_read_as_pyxdf_reads_them(name: str, samples: list[int]) -> None:
    path = REFERENCE / "xdf" / f"{name}.xdf"
    ours = xdf.read(path)
    assert ours.dropped == 0
    assert [len(stream.t) for stream in ours.streams] == samples
    for stream, theirs in zip(ours.streams, load(path.read_bytes()), strict=True):
        np.testing.assert_array_equal(stream.t, theirs["time_stamps"])
        if not isinstance(stream.values, list):
            np.testing.assert_array_equal(stream.values, theirs["time_series"])
