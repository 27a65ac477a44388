"""Files of others: REFLACX, EGD and XDF as they are, and what is refused of those that are wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.frames import GAZE_CHANNELS
from capture.gaze.formats import bids, egd, parquet, reflacx, xdf, xdf_reading
from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.reading import Found, Reading, sentences_from_words
from capture.gaze.formats.table import recognise
from tests.reference import REFERENCE, needs_reference

from .readings import DISPLAY, SIZE, gaze_rows, make_reading

# ── REFLACX ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_reference
@pytest.mark.parametrize(
    ("name", "rate", "size", "words"), [("P101R000001", 250, (1400, 1600), 15), ("P101R000002", 1000, (1736, 2022), 15)]
)
def test_reflacx_readings_come_in_with_fixations_and_sentences(
    name: str, rate: float, size: tuple[int, int], words: int
) -> None:
    (found,) = reflacx.read(REFERENCE / "gazex_boxes" / name)
    assert (found.id, found.size) == (name, None)
    reading = found.reading(size)
    track = reading.track
    assert track.meta["rate_hz"] == pytest.approx(rate, rel=0.01)
    assert (track.meta["rows"], track.meta["columns"]) == size
    assert 5 < len(track.fixations) < 200
    assert np.nanmedian(track.ppd_x) == pytest.approx(38, abs=1)
    assert reading.sentences[0][0] == "no pneumothorax." if name.endswith("1") else reading.sentences[0][0][-1] == "."
    with (REFERENCE / "gazex_boxes" / name / "timestamps_transcription.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(reading.sentences) == sum(row["word"] == "." for row in rows)
    assert reading.sentences[0][1] == float(rows[0]["timestamp_start_word"])
    assert reading.sentences[-1][2] == float(rows[-1]["timestamp_end_word"])


def written(tmp_path: Path, fmt: Any, **changes: Any) -> Path:
    rows = [fmt.write(make_reading(**{"still": True, **changes}), tmp_path)]
    fmt.finish(tmp_path, rows)
    return tmp_path


def test_reflacx_columns_units_and_line_ends_are_the_datasets(tmp_path: Path) -> None:
    written(tmp_path, reflacx)
    gaze = (tmp_path / "gaze_data/P300R000001/gaze.csv").read_bytes()
    header, first = gaze.split(b"\r\n")[:2]
    assert header.decode().split(",")[:7] == [
        "timestamp_sample", "x_position", "y_position", "pupil_area_normalized",
        "angular_resolution_x_pixels_per_degree", "angular_resolution_y_pixels_per_degree", "window_width",
    ]  # fmt: skip
    assert len(header.split(b",")) == len(first.split(b",")) == 16
    assert b"\n" not in gaze.replace(b"\r\n", b"")
    decimals = [len(cell.partition(".")[2]) for cell in gaze.decode().replace("\r\n", ",").split(",")]
    assert max(decimals) == 3
    fixations = (tmp_path / "main_data/P300R000001/fixations.csv").read_text().splitlines()[0].split(",")
    assert fixations[:3] == ["timestamp_start_fixation", "timestamp_end_fixation", "x_position"]
    assert len(fixations) == 17
    with (tmp_path / "main_data/metadata_phase_3.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["dicom_id"], row["subject_id"]) == ("P300R000001", "image-7", "P-9")
    assert (row["image_size_x"], row["image_size_y"]) == ("800", "1000")
    assert row["Lung nodule or mass"] == ""


def test_reflacx_pupil_areas_have_a_mean_of_one(tmp_path: Path) -> None:
    written(tmp_path, reflacx)
    with (tmp_path / "gaze_data/P300R000001/gaze.csv").open(newline="") as file:
        areas = [float(row["pupil_area_normalized"]) for row in csv.DictReader(file) if row["pupil_area_normalized"]]
    assert np.mean(areas) == pytest.approx(1, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text("abcdé-,'", min_size=1, max_size=8), min_size=1, max_size=6), min_size=1, max_size=5))
def test_words_become_the_sentences_that_full_stops_make(sentences: list[list[str]]) -> None:
    words, t = [], 0.0
    for sentence in sentences:
        for word in [*sentence, "."]:
            words.append((word, t, t + 0.5))
            t += 0.5
    found = sentences_from_words(words)
    spoken = [s for s in sentences if any(word != "," for word in s)]
    assert len(found) == len(spoken)
    for (text, start, end), sentence in zip(found, spoken, strict=True):
        assert text.replace(" ", "") == "".join(sentence) + "."
        assert end - start == pytest.approx(0.5 * (len(sentence) + 1))


def test_a_last_sentence_without_a_mark_is_kept() -> None:
    words = [("clear", 0.0, 0.4), ("lungs.", 0.4, 1.0), ("normal", 2.0, 2.5), ("heart", 2.5, 3.0)]
    assert sentences_from_words(words) == (("clear lungs.", 0.0, 1.0), ("normal heart", 2.0, 3.0))


# ── what is wrong with a table ────────────────────────────────────────────────────────────────────────────────────────

Rows = list[dict[str, str]]


def change(path: Path, edit: Callable[[Rows], Rows]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = edit(rows)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue())


def scaled(column: str, by: float) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, column: str(float(row[column]) * by) if row[column] else ""} for row in rows]


def reversed_at(column: str, at: int) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]]


def emptied(column: str, at: int) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, column: "" if i == at else row[column]} for i, row in enumerate(rows)]


def worded(column: str, at: int, word: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, column: word if i == at else row[column]} for i, row in enumerate(rows)]


def dropped(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{k: v for k, v in row.items() if k != column} for row in rows]


def fractions(*columns: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **{c: str(float(row[c]) / 1000) if row[c] else "" for c in columns}} for row in rows]


R, E = "gaze_data/P300R000001/gaze.csv", "R01-C-1-abcd/eye_gaze.csv"
WRONG = [
    (reflacx, R, scaled("timestamp_sample", 1000), r"gaze\.csv steps by 4 in timestamp_sample.*milliseconds"),
    (reflacx, R, reversed_at("timestamp_sample", 10), r"gaze\.csv goes back in time on line 13"),
    (reflacx, R, emptied("timestamp_sample", 3), r"gaze\.csv has no timestamp_sample on line 5"),
    (reflacx, R, worded("timestamp_sample", 3, "soon"), r"'soon' in timestamp_sample on line 5"),
    (reflacx, R, worded("x_position", 3, "inf"), "infinite number in x_position"),
    (reflacx, R, dropped("y_position"), r"gaze\.csv has no column y_position, which REFLACX's gaze\.csv needs"),
    (reflacx, R, fractions("x_position", "y_position"), r"look like fractions of the image"),
    (reflacx, R, worded("xmax_shown_from_image", 3, "1900"), "belongs to an image of another size"),
    (reflacx, R, worded("xmax_shown_from_image", 3, "-0.5"), "has no area"),
    (reflacx, R, worded("angular_resolution_x_pixels_per_degree", 3, "0"), "angular resolution that is not positive"),
    (reflacx, R, lambda rows: rows[:1], "holds 1 sample"),
    (reflacx, "main_data/P300R000001/fixations.csv", scaled("timestamp_end_fixation", -1), "ends before it begins"),
    (reflacx, "main_data/P300R000001/fixations.csv", dropped("x_position"), "no column x_position"),
    (reflacx, "main_data/P300R000001/timestamps_transcription.csv", emptied("timestamp_end_word", 1), "without times"),
    (reflacx, "main_data/metadata_phase_3.csv", worded("image_size_x", 0, "wide"), "image size that is no number"),
    (egd, E, scaled(egd.TIME, 1000), r"steps by 4 in Time \(in secs\).*milliseconds"),
    (egd, E, reversed_at(egd.TIME, 10), "goes back in time on line 13"),
    (egd, E, fractions("X_ORIGINAL", "Y_ORIGINAL"), "look like fractions of the image"),
    (egd, E, lambda rows: scaled("BPOGX", 1920)(scaled("BPOGY", 1080)(rows)), "EGD gives fractions of the screen"),
    (egd, E, dropped("X_ORIGINAL"), "no column X_ORIGINAL"),
    (egd, E, lambda rows: [*rows, {**rows[0], "SESSION_ID": "2"}, rows[0]], "comes back to session 1"),
    (egd, E, lambda rows: scaled("X_ORIGINAL", 3)(scaled("Y_ORIGINAL", 3)(rows)), "an image of another size"),
]


def all_of(fmt: Any, path: Path, **options: Any) -> None:
    for found in list(fmt.read(path, **options)):
        found.reading(SIZE)


@pytest.mark.parametrize(("fmt", "file", "edit", "words"), WRONG, ids=[w[3][:45] for w in WRONG])
def test_a_wrong_table_is_refused_in_one_sentence(
    tmp_path: Path, fmt: Any, file: str, edit: Callable[[Rows], Rows], words: str
) -> None:
    written(tmp_path, fmt)
    change(tmp_path / file, edit)
    with pytest.raises(FormatError, match=words) as refusal:
        all_of(fmt, tmp_path, display=DISPLAY)
    sentence = str(refusal.value)
    assert sentence.endswith(".") and "\n" not in sentence and str(tmp_path) not in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"timestamp_sample,x_position,y_position\r\n0,1\r\n", "2 cells on line 2 and 3 columns"),
        (b"timestamp_sample,x_position,y_position\r\n\xff\xfe,1,2\r\n", "not UTF-8"),
        (b"timestamp_sample,x_position,y_position\r\n", "holds 0 samples"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "gaze.csv").write_bytes(content)
    (found,) = reflacx.read(tmp_path)
    with pytest.raises(FormatError, match=words):
        found.reading(SIZE)


def test_gaze_of_an_image_of_another_size_is_refused_by_both_sizes(tmp_path: Path) -> None:
    (found,) = reflacx.read(written(tmp_path, reflacx))
    with pytest.raises(FormatError, match=r"on an image of 800 × 1000 pixels; this one has 512 × 512"):
        found.reading((512, 512))


def test_an_image_size_that_nobody_tells_is_asked_for(tmp_path: Path) -> None:
    (found,) = egd.read(written(tmp_path, egd))
    with pytest.raises(FormatError, match="does not tell the size of its image"):
        found.reading()


def test_lost_samples_stay_lost(tmp_path: Path) -> None:
    written(tmp_path, reflacx)
    change(tmp_path / R, worded("x_position", 20, ""))
    (found,) = reflacx.read(tmp_path)
    track = found.reading().track
    assert np.isnan(track.x[20]) and np.isnan(track.y[20]) and not track.valid[20]


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FormatError, match=r"notes\.txt holds no gaze recording that is known"):
        recognise(tmp_path / "notes.txt")
    with pytest.raises(FormatError, match="does not exist"):
        recognise(tmp_path / "gone")


def test_a_damaged_parquet_or_gzip_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "p", parquet)
    path = next((tmp_path / "p" / "samples").iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="no Parquet table of a Gazeroom reading"):
        list(parquet.read(tmp_path / "p"))
    written(tmp_path / "b", bids)
    path = next((tmp_path / "b").rglob("*eye3_physio.tsv.gz"))
    path.write_bytes(path.read_bytes()[:-20])
    (found,) = bids.read(tmp_path / "b")
    with pytest.raises(FormatError, match="damaged gzip"):
        found.reading()


# ── EGD ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def told_otherwise(folder: Path, **changes: Any) -> Path:
    """A Parquet reading whose own description was changed."""
    import pyarrow.parquet as pq

    written(folder, parquet)
    for file in folder.glob("*/*.parquet"):
        table = pq.read_table(file)
        meta = json.loads(table.schema.metadata[b"gazeroom"])
        meta = {**meta, **changes, "track": {**meta["track"], **changes.get("track", {})}}
        pq.write_table(table.replace_schema_metadata({"gazeroom": json.dumps(meta)}), file)
    return folder


def test_a_reading_whose_id_leads_out_of_its_folder_is_written_within(tmp_path: Path) -> None:
    (found,) = parquet.read(told_otherwise(tmp_path / "a", id="../../evil"))
    reading = found.reading()
    for fmt in (parquet, xdf_reading, egd):
        fmt.write(reading, tmp_path / "b" / "c" / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b"}
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"c"}
    assert {p.name for p in (tmp_path / "b" / "c").iterdir()} == {"out"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"origin_lsl": None}, "does not hold what its format says"),
        ({"track": {"data_loss": float("nan")}}, "data_loss is nan"),
        ({"track": {"data_loss": 7}}, "data_loss is 7"),
        ({"track": {"rate_hz": "fast"}}, "rate_hz is 'fast'"),
        ({"track": {"clock_bound_ms": "small"}}, "clock_bound_ms is 'small'"),
        ({"track": {"schema": "of another"}}, "schema"),
        ({"track": {"note": "NUL \0"}}, "NUL"),
        ({"track": {"note": float("inf")}}, "not finite"),
    ],
)
def test_a_track_that_misdescribes_itself_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    (found,) = parquet.read(told_otherwise(tmp_path, **changes))
    with pytest.raises(FormatError, match=words):
        found.reading()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"x": ', '"q": ', "does not hold what its format says"),
        ('"matrix": [', '"matrix": ["a", ', "does not hold what its format says"),
        ('"viewport": 0, "ppd', '"viewport": 9, "ppd', "viewport states that it does not hold"),
    ],
)
def test_bids_events_of_another_make_are_refused(tmp_path: Path, before: str, after: str, words: str) -> None:
    folder = written(tmp_path, bids)
    events = next(folder.rglob("*physioevents.tsv.gz"))
    # In a cell of the table a quotation mark is written twice.
    told, wrong = (text.replace('"', '""').encode() for text in (before, after))
    held = gzip.decompress(events.read_bytes())
    assert told in held
    events.write_bytes(gzip.compress(held.replace(told, wrong)))
    (found,) = bids.read(folder)
    with pytest.raises(FormatError, match=words):
        found.reading(SIZE)


def test_a_bids_sidecar_without_a_list_of_columns_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, bids)
    for file in folder.rglob("*_physio.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "Columns": None}))
    with pytest.raises(FormatError, match="Columns"):
        list(bids.read(folder))


@pytest.mark.parametrize("interval", [(2.0, 1.0), (float("nan"), 1.0)])
def test_a_sentence_that_ends_before_it_begins_is_refused(tmp_path: Path, interval: tuple[float, float]) -> None:
    folder = written(tmp_path, parquet, sentences=(("The lungs are clear.", *interval),))
    (found,) = parquet.read(folder)
    with pytest.raises(FormatError, match="sentence"):
        found.reading()


def test_egd_pixels_that_follow_the_fixation_are_not_taken_for_the_samples(tmp_path: Path) -> None:
    """Where X_ORIGINAL is the fixation's place, samples are placed as the fixation's columns say."""
    reading = make_reading(still=True)
    written(tmp_path, egd)

    def of_fixation(rows: Rows) -> Rows:
        return [
            {
                **row,
                "X_ORIGINAL": str(float(row["FPOGX"]) * 1920 - 510) if row["FPOGX"] else "",
                "Y_ORIGINAL": str(float(row["FPOGY"]) * 1080 - 25) if row["FPOGY"] else "",
            }
            for row in rows
        ]

    change(tmp_path / E, of_fixation)
    (found,) = egd.read(tmp_path)
    on = np.isfinite(reading.track.x)
    np.testing.assert_allclose(found.reading(SIZE).track.x[on], reading.track.x[on], atol=0.1)


# ── BIDS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bids_has_what_its_schema_requires_of_eye_tracking(tmp_path: Path) -> None:
    """The keys and columns of BIDS 1.11 (rules: sidecars.continuous, tabular_data.physio, checks.eyetrack)."""
    import gzip

    written(tmp_path, bids)
    assert json.loads((tmp_path / "dataset_description.json").read_text())["BIDSVersion"].startswith("1.11")
    beh = tmp_path / "sub-R01" / "beh"
    eyes = {}
    for file in sorted(beh.glob("*_physio.json")):
        side = json.loads(file.read_text())
        assert {"SamplingFrequency", "StartTime", "Columns", "RecordedEye", "SampleCoordinateSystem"} <= set(side)
        assert (side["PhysioType"], side["SampleCoordinateSystem"]) == ("eyetrack", "gaze-on-screen")
        assert side["Columns"][:3] == ["timestamp", "x_coordinate", "y_coordinate"]
        assert side["x_coordinate"]["Units"] == side["y_coordinate"]["Units"] == "pixel"
        assert "diameter" in side["pupil_size"]["Description"].lower()
        table = gzip.decompress(file.with_name(file.name.replace(".json", ".tsv.gz")).read_bytes()).decode()
        assert {len(line.split("\t")) for line in table.splitlines()} == {len(side["Columns"])}
        assert not table.startswith("timestamp")
        eyes[side["RecordedEye"]] = file.name
    assert set(eyes) == {"left", "right", "cyclopean"}
    assert eyes["left"].endswith("_recording-eye1_physio.json")
    events = json.loads(next(beh.glob("*_physioevents.json")).read_text())
    assert events["OnsetSource"] == "timestamp" and events["Columns"][0] == "onset"
    screen = json.loads(next(beh.glob("*run-1_events.json")).read_text())["StimulusPresentation"]
    assert screen["ScreenSize"] == [0.527, 0.296] and screen["ScreenDistance"] == 0.65
    assert screen["ScreenResolution"] == [1920, 1080] and screen["ScreenOrigin"] == ["top", "left"]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ({"algorithm": "ivt"}, "Fixations (I-VT),"),
        ({"algorithm": "idt"}, "Fixations (I-DT),"),
        ({"algorithm": "adaptive"}, "Fixations (adaptive),"),
        (None, "Fixations, viewport"),
    ],
)
def test_bids_says_how_fixations_were_found_where_the_track_tells_it(tmp_path: Path, events: Any, words: str) -> None:
    reading = make_reading(still=True)
    meta = {key: value for key, value in reading.track.meta.items() if key != "events"}
    track = replace(reading.track, meta=meta if events is None else {**meta, "events": events})
    bids.write(replace(reading, track=track), tmp_path)
    (file,) = tmp_path.rglob("*_physioevents.json")
    assert json.loads(file.read_text())["Description"].startswith(words)


# ── XDF ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def recorded(tmp_path: Path, *, seed: int = 3, **changes: Any) -> tuple[Path, np.ndarray]:
    """A third party's file: App-TobiiPro's six channels under another clock, with the screen they were made for."""
    rng = np.random.default_rng(seed)
    t = 500 + np.arange(600) / 300
    screen = np.repeat(rng.uniform((520, 50), (1280, 1000), (6, 2)), 100, axis=0)
    rows = gaze_rows(t, screen, rng)
    wanted = ["LeftScreenX", "LeftScreenY", "LeftDiameter", "RightScreenX", "RightScreenY", "RightDiameter"]
    values = rows[:, [1 + GAZE_CHANNELS.index(label) for label in wanted]]
    channels = [
        (
            label,
            label.removeprefix("Left").removeprefix("Right"),
            "mm" if "Dia" in label else "normalized",
            label[:-7].lower(),
        )
        for label in wanted
    ]
    channels = [(a, b, c, "left" if a.startswith("Left") else "right") for a, b, c, _ in channels]
    given: dict[str, Any] = {
        "name": "Tobii", "type": "Gaze", "t": t, "values": values, "channels": channels, "rate_hz": 300.0,
        "offsets": np.column_stack([np.arange(499, 503.0), np.full(4, 1000.0)]), "desc": {"display": DISPLAY.to_dict()},
        **changes,
    }  # fmt: skip
    path = tmp_path / "image-7.xdf"
    xdf.write(path, [xdf.Stream(**given)])
    return path, screen


PLACED = (500.0, 20.0, 1300.0, 1020.0)


def test_somebody_elses_xdf_becomes_a_track_on_the_recorders_clock(tmp_path: Path) -> None:
    path, screen = recorded(tmp_path)
    (found,) = xdf_reading.read(path, placed=PLACED)
    assert (found.image, found.size) == ("image-7", None)
    track = found.reading(SIZE).track
    assert track.origin_lsl == pytest.approx(1500, abs=1e-6)
    np.testing.assert_allclose(track.x, screen[:, 0] - 500.5, atol=0.01)
    np.testing.assert_allclose(track.y, screen[:, 1] - 20.5, atol=0.01)
    assert track.states is not None and len(track.fixations) == 6


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"type": "EEG"}, {}, "no stream of type Gaze .its streams: EEG"),
        ({"desc": {}}, {}, "does not describe its display"),
        ({}, {"placed": None}, "does not tell where on the display the image was"),
        ({"channels": ()}, {}, "cannot be used: The stream has no channels of type ScreenX"),
        ({"t": np.r_[np.arange(300.0), np.arange(300.0)] / 300}, {}, "goes back in time at sample 300"),
        ({"t": np.arange(600) / 0.3}, {}, "milliseconds"),
        ({"t": np.r_[np.nan, 500 + np.arange(599) / 300]}, {}, "sample without a time stamp"),
        ({"t": np.zeros(0), "values": np.zeros((0, 6)), "offsets": np.zeros((0, 2))}, {}, "has no sample"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_xdf_that_cannot_be_placed_is_refused(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    path, _ = recorded(tmp_path, **changes)
    with pytest.raises(FormatError, match=words):
        all_of(xdf_reading, path, **{"placed": PLACED, **options})


def test_gaze_said_to_be_normalised_that_is_pixels_is_refused(tmp_path: Path) -> None:
    _, screen = recorded(tmp_path)
    path, _ = recorded(tmp_path, values=np.c_[screen, np.full(600, 3.0), screen, np.full(600, 3.0)])
    (found,) = xdf_reading.read(path, placed=PLACED)
    with pytest.raises(FormatError, match="said to be normalised"):
        found.reading(SIZE)


def test_two_gaze_streams_are_not_guessed_between(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path)
    (stream,) = xdf.read(path).streams
    xdf.write(path, [stream, stream])
    (found,) = xdf_reading.read(path, placed=PLACED)
    with pytest.raises(FormatError, match="2 Gaze streams"):
        found.reading(SIZE)


def test_the_log_says_where_a_file_could_not_be_read_and_not_whose_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def build(rows: int, columns: int) -> Reading:
        raise ValueError("could not convert string to float: 'DOE^JANE'")

    with pytest.raises(FormatError, match="DOE"):
        Found("1", "", "", None, {}, build, "Doe_Jane.xdf").reading((10, 10))
    assert "ValueError in " in caplog.text and "test_foreign.py" in caplog.text
    assert "doe" not in caplog.text.lower()
