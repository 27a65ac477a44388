"""`python -m gazex`: wrong arguments and places that cannot be written to cost one sentence before any work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazex.__main__ import INTERRUPTED, STOPPED, main
from gazex.phantoms import make_phantom
from tests.gazex.test_tasks_examples import reflacx

HERE = Path(__file__).resolve().parents[2]


def one_sentence(err: str) -> bool:
    return err.count("\n") == 1 and err.rstrip().endswith(".") and "Errno" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: command"),
        (["sing"], "invalid choice: 'sing'"),
        (["boxes", "F"], "required: --width, --height, --out"),
        (["examples", "F", "--out", "e", "--width", "wide"], "--width: invalid int value: 'wide'"),
        (["train", "--visits", "F", "--out", "o", "--steps", "few"], "--steps: invalid int value: 'few'"),
        (["read"], "required: file"),
    ],
)
def test_arguments_that_cannot_be_are_answered_in_one_sentence(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and words in said and "--help" in said and one_sentence(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--visits", "F", "--out", "o", "--seed", "-1"],
        ["train-small", "--out", "o", "--seed", "-1"],
        ["ablation", "--out", "o", "--seeds", "1", "-1"],
    ],
    ids=lambda a: a[0],
)
def test_a_seed_below_zero_is_refused_before_a_folder_is_made(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "is -1; give a whole number from 0 on" in said and one_sentence(said) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-small", "--out", "o", "--pool", "0"], "A pool of 0 phantoms"),
        (["ablation", "--out", "o", "--rates", "0"], "a multiple above 0"),
        (["ablation", "--out", "o", "--rates", "1", "1"], "named once"),
    ],
)
def test_a_training_of_no_size_is_refused_before_a_folder_is_made(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and one_sentence(said) and not list(tmp_path.iterdir())


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    folder = reflacx(tmp_path / "P1")
    Image.new("L", (200, 160), 90).save(tmp_path / "image.png")
    size = ["--width", "200", "--height", "160"]
    return {
        "boxes": ["boxes", str(folder), *size],
        "video": ["video", str(folder), "--image", str(tmp_path / "image.png")],
        "examples": ["examples", str(folder), *size],
        "evaluate": ["evaluate", "--model", "/no/model"],
        "train": ["train", "--visits", str(tmp_path / "none")],
        "train-small": ["train-small"],
        "ablation": ["ablation"],
    }


FILES, FOLDERS = ("boxes", "video", "examples", "evaluate"), ("train", "train-small", "ablation")


@pytest.mark.parametrize("command", FILES + FOLDERS)
def test_an_out_within_a_file_is_refused_before_anything_else(tmp_path, capsys, commands, command):
    (tmp_path / "file").write_text("kept")
    assert main([*commands[command], "--out", str(tmp_path / "file" / "o.png")]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said and one_sentence(said) and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", FOLDERS)
def test_a_run_whose_folder_is_a_file_is_refused(tmp_path, capsys, commands, command):
    (tmp_path / "file").write_text("kept")
    assert main([*commands[command], "--out", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert "is a file" in said and one_sentence(said) and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", FILES)
def test_an_out_that_is_a_folder_is_refused(tmp_path, capsys, commands, command):
    assert main([*commands[command], "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path} is a folder; name a file in it" in said and one_sentence(said)


@pytest.mark.parametrize("command", FILES + FOLDERS)
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, capsys, monkeypatch, commands, command):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    assert main([*commands[command], "--out", str(tmp_path / "o.png")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path} cannot be written to" in said and "--out" in said and one_sentence(said)


@pytest.mark.parametrize("command", ["boxes", "video", "examples"])
def test_what_the_system_refuses_is_said_without_its_number(tmp_path, capsys, commands, command):
    assert main([*commands[command], "--out", str(tmp_path / ("n" * 300 + ".png"))]) == 2
    said = capsys.readouterr().err
    assert "File name too long" in said and one_sentence(said)


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGTERM, STOPPED), (signal.SIGINT, INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_killed_command_leaves_no_file_under_the_name_asked_for(tmp_path, how, status):
    """The signal comes while the second reading is made into examples; what was there before stays."""
    folders = [str(reflacx(tmp_path / name)) for name in ("P1", "P2")]
    out = tmp_path / "out" / "e.jsonl"
    out.parent.mkdir()
    out.write_text("before")
    code = (
        # A test run started in the background hands on that SIGINT is ignored.
        "import pathlib, runpy, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from gazex.tasks import command; build = command.build;"
        "waits = lambda: (pathlib.Path(sys.argv[-1] + '.waits').touch(), time.sleep(60));"
        "command.build = lambda visit, **how: build(visit, **how) if visit.id == 'P1' else waits();"
        "runpy.run_module('gazex', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", code, "examples", *folders, "--width", "200", "--height", "160"]
    with subprocess.Popen([*command, "--out", str(out)], cwd=HERE, stderr=subprocess.PIPE, text=True) as run:
        until = time.monotonic() + 60
        while not (waits := out.parent / "e.jsonl.waits").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert (out.parent / "e.jsonl.part").exists()
        waits.unlink()
        run.send_signal(how)
        said = run.communicate()[1]
    assert run.returncode == status and "Traceback" not in said, said
    assert out.read_text() == "before"
    if how != signal.SIGKILL:
        assert [p.name for p in out.parent.iterdir()] == ["e.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--cases", "0"], "--cases is 0; give a whole number from 8 to 2000."),
        (["evaluate", "--cases", "5000000"], "--cases is 5000000; give a whole number from 8 to 2000."),
        (["evaluate", "--model", "smal"], "There is no model folder smal."),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused_before_torch_is_imported(tmp_path, arguments, words):
    code = f"import sys; from gazex.__main__ import main; s = main({[*arguments, '--out', str(tmp_path / 'x')]}); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(s, 'torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr.strip()) == ("2 False", words)


def test_an_evaluation_says_what_came_out_and_where_it_is(tmp_path, capsys):
    out = tmp_path / "x.json"
    assert main(["evaluate", "--cases", "8", "--out", str(out)]) == 0
    f1 = json.loads(out.read_text())["report"]["f1"]
    said = capsys.readouterr().out.strip()
    assert said.startswith(f"report F1 {f1:.3f}; by chance ") and said.endswith(f"; all of it in {out}")


def test_the_small_model_says_that_it_does_not_know_patients(tmp_path, capsys):
    Image.fromarray(make_phantom(5, 3, (160, 150)).pixels.astype(np.uint16)).save(tmp_path / "x.png")
    assert main(["read", str(tmp_path / "x.png")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["report"] and "has learnt from phantoms" in said.err
