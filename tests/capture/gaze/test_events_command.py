"""`python -m capture.gaze events` as someone who has never used it would call it."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.gaze.__main__ import main
from tests.reference import REFERENCE, needs_reference

ROOT = Path(__file__).resolve().parents[3]
SCREEN = ["--rate", "500", "--screen-px", "1024", "768", "--screen-mm", "380", "300", "--distance-mm", "670"]
HEADER = "time_s,x_px,y_px,coder\n"


def lines(n: int = 600, *, step: float = 0.002) -> list[str]:
    """A look, a saccade, a look; the last column holds a coder's codes."""
    rng = np.random.default_rng(0)
    u = np.clip((np.arange(n) - n // 2) / 20, 0, 1)
    x = 300 + 300 * (10 * u**3 - 15 * u**4 + 6 * u**5) + rng.normal(0, 0.3, n)
    y = 400 + rng.normal(0, 0.3, n)
    codes = np.where((u > 0) & (u < 1), 2, 1)
    return [f"{i * step:.4f},{x[i]:.3f},{y[i]:.3f},{codes[i]}\n" for i in range(n)]


def write(folder: Path, body: list[str], *, header: str = HEADER) -> Path:
    path = folder / "gaze.csv"
    path.write_text(header + "".join(body))
    return path


def events(path: Path, *more: str, algorithm: str = "adaptive", screen: list[str] = SCREEN) -> int:
    out = path.parent / "events.csv"
    return main(["events", str(path), "--algorithm", algorithm, *screen, "--out", str(out), *more])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("algorithm", ["ivt", "idt", "adaptive"])
@pytest.mark.parametrize("packed", [False, True])
def test_events_and_samples_are_written(tmp_path: Path, algorithm: str, packed: bool) -> None:
    path = write(tmp_path, lines())
    if packed:
        path = tmp_path / "gaze.csv.gz"
        path.write_bytes(gzip.compress((tmp_path / "gaze.csv").read_bytes()))
    samples = tmp_path / "samples.csv"
    assert events(path, "--samples", str(samples), algorithm=algorithm) == 0
    found = rows(tmp_path / "events.csv")
    assert list(found[0]) == ["kind", "onset_s", "offset_s", "x_px", "y_px", "amplitude_deg"]
    assert [row["kind"] for row in found] == ["fixation", "saccade", "fixation"]
    assert float(found[0]["x_px"]) == pytest.approx(300, abs=3) and float(found[2]["x_px"]) == pytest.approx(600, abs=3)
    if algorithm != "idt":
        assert float(found[1]["amplitude_deg"]) == pytest.approx(9.5, abs=0.5)
    labelled = rows(samples)
    assert len(labelled) == 600 and list(labelled[0])[-1] == "label"
    for row in found:
        held = {s["label"] for s in labelled if float(row["onset_s"]) <= float(s["time_s"]) <= float(row["offset_s"])}
        assert held == {row["kind"]}


def test_kappa_is_printed_for_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert events(write(tmp_path, lines()), "--truth", "coder") == 0
    printed = dict(line.split(" ", 2)[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("kappa"))
    assert list(printed) == ["fixation", "saccade", "pso", "pursuit", "blink", "undefined"]
    assert float(printed["saccade"]) > 0.8 and float(printed["fixation"]) > 0.8
    assert printed["pursuit"].startswith("not estimable")


BAD = {
    "nan time": (lambda b: [*b[:9], "nan,1,2,1\n", *b[10:]], "row 11: time_s is 'nan'"),
    "reversed": (lambda b: [*b[:9], b[20], b[10], *b[11:]], "row 12: time_s 0.0200 goes back from 0.0400"),
    "repeated": (lambda b: [*b[:10], b[9], *b[11:]], "row 12: time_s 0.0180 repeats 0.0180"),
    "a word": (lambda b: [*b[:9], "0.018,left,2,1\n", *b[10:]], "row 11: x_px is 'left', which is not a number"),
    "infinite": (lambda b: [*b[:9], "0.018,inf,2,1\n", *b[10:]], "row 11: x_px is 'inf'; a finite number"),
    "cut short": (lambda b: [*b[:-1], "1.19,30"], "row 601 has 2 fields where the header has 4"),
    "no rows": (lambda b: [], "has 0 samples"),
    "other rate": (lambda b: lines(step=0.004), "the times say 250 Hz, --rate says 500 Hz; give --rate 250"),
    "milliseconds": (lambda b: lines(step=2.0), "look like milliseconds: divide them by 1000"),
    "changing rate": (
        lambda b: [*b, *(f"{1.2 + i * 0.004:.4f},300,400,1\n" for i in range(500))],
        "the stream changes its rate: 250 Hz",
    ),
    "fractions": (
        lambda b: [f"{i * 0.002:.4f},{0.4 + i / 9e4},0.5,1\n" for i in range(600)],
        "fractions of the screen",
    ),
    "all lost": (lambda b: [f"{i * 0.002:.4f},,nan,1\n" for i in range(600)], "every sample is lost"),
    "beside the screen": (lambda b: [f"{i * 0.002:.4f},9000,9000,1\n" for i in range(600)], "no sample lies near"),
    "other screen": (lambda b: [f"{i * 0.002:.4f},{100 + 6 * i},400,1\n" for i in range(600)], "check --screen-px"),
    "a code": (lambda b: [*b[:9], "0.018,300,400,9\n", *b[10:]], "row 11: coder is '9'; codes are"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    spoil, sentence = BAD[name]
    path = write(tmp_path, spoil(lines()))
    (tmp_path / "events.csv").write_text("kept")
    assert events(path, "--truth", "coder", "--samples", str(tmp_path / "samples.csv")) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and "Traceback" not in said
    assert (tmp_path / "events.csv").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.csv", "gaze.csv"]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("time,x_px,y_px,coder\n", "lacks the column time_s; its columns are time, x_px, y_px, coder"),
        ("time_s,x_px,x_px,coder\n", "has twice the column x_px"),
        ("time_s,x_px,y_px,other\n", "lacks the column coder"),
    ],
)
def test_a_column_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, sentence: str
) -> None:
    assert events(write(tmp_path, lines(), header=header), "--truth", "coder") == 2
    assert sentence in capsys.readouterr().err


def test_a_truncated_gzip_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gaze.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "".join(lines())).encode())[:-400])
    assert events(path) == 2
    assert "truncated gzip file" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["gaze.csv.gz"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--rate", "0"], "--rate is 0"),
        (["--distance-mm", "-5"], "distance_mm is -5"),
        (["--out", "nowhere/events.csv"], "does not exist; make it first"),
        (["--samples", "{out}"], "same file"),
        (["--out", "{in}"], "is the input"),
    ],
    ids=["rate", "distance", "folder", "same", "input"],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    path = write(tmp_path, lines())
    before = path.read_text()
    names = {"{out}": str(tmp_path / "events.csv"), "{in}": str(path)}
    assert events(path, *(names.get(word, word) for word in more)) == 2
    assert sentence in capsys.readouterr().err
    assert path.read_text() == before


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert events(tmp_path / "absent.csv") == 2
    assert "absent.csv: No such file" in capsys.readouterr().err


def test_when_the_samples_cannot_be_written_the_events_are_not_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "samples.csv")

    monkeypatch.setattr("capture.gaze.events.command.write_samples", full)
    assert events(write(tmp_path, lines()), "--samples", str(tmp_path / "samples.csv")) == 2
    assert "No space left" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["gaze.csv"]


def test_the_command_starts_without_django_torch_scipy_or_numba(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    program = (
        "import sys; from capture.gaze.__main__ import main\n"
        f"out = {str(tmp_path / 'e.csv')!r}\n"
        f"code = main(['events', {str(path)!r}, '--algorithm', 'ivt', *{SCREEN!r}, '--out', out])\n"
        "print(code, sorted({'django', 'torch', 'scipy', 'numba', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@needs_reference
@pytest.mark.reference
def test_a_lund_2013_trial_goes_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = REFERENCE / "lund2013" / "img_UL23_img_Europe.csv.gz"
    out = tmp_path / "events.csv"
    command = ["events", str(source), "--algorithm", "adaptive", *SCREEN, "--out", str(out), "--truth", "label_MN"]
    assert main(command) == 0
    said = capsys.readouterr().out
    found = dict(line.split()[1:3] for line in said.splitlines() if line.startswith("kappa") and "not" not in line)
    assert float(found["fixation"]) >= 0.85 and float(found["saccade"]) >= 0.9 and float(found["pso"]) >= 0.75
    assert sum(row["kind"] == "blink" for row in rows(out)) == 3
