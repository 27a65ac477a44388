"""A stream's channels are found by what they say about themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent import pairing
from capture.agent.lsl import configuration, standard_channels
from capture.agent.pairing import Pairing
from capture.agent.sources.layout import map_channels
from capture.frames import GAZE_CHANNELS
from tests.capture.agent.harness import ROOT

STANDARD = [(label, kind, eye) for label, kind, _, eye in standard_channels()]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(30)))
def test_any_order_of_the_channels_gives_the_same_samples(order: list[int]) -> None:
    values = np.arange(60.0).reshape(2, 30)
    channels = map_channels([STANDARD[i] for i in order])
    mapped = channels.standard(np.array([5.0, 6.0]), values[:, order])
    assert np.array_equal(mapped[:, 1:], values)
    assert mapped[:, 0].tolist() == [5.0, 6.0]


def test_type_and_eye_decide_whatever_the_label_says() -> None:
    layout = [("gx", "ScreenX", "right"), ("gy", "ScreenY", "Right"), ("LeftScreenX", "Diameter", "right")]
    mapped = map_channels(layout).standard(np.zeros(1), np.array([[0.1, 0.2, 3.0]]))[0, 1:]
    assert mapped[GAZE_CHANNELS.index("RightScreenX")] == 0.1
    assert mapped[GAZE_CHANNELS.index("RightDiameter")] == 3.0
    assert np.isnan(mapped[GAZE_CHANNELS.index("LeftScreenX")])


def test_a_label_serves_where_type_and_eye_are_not_told() -> None:
    mapped = map_channels([("leftscreeny", "", ""), ("LeftScreenX", "", ""), ("FrameNumber", "", "")])
    assert mapped.standard(np.zeros(1), np.array([[0.2, 0.1, 7.0]]))[0, 1:3].tolist() == [0.1, 0.2]
    assert mapped.present == ["LeftScreenX", "LeftScreenY", "FrameNumber"]


def test_channels_a_stream_does_not_have_are_not_numbers() -> None:
    mapped = map_channels([s for s in STANDARD if s[2] == "left"]).standard(np.zeros(3), np.ones((3, 14)))
    assert np.isnan(mapped[:, 15:]).all() and (mapped[:, 1:15] == 1).all()


def test_a_stream_without_screen_coordinates_is_refused() -> None:
    with pytest.raises(ValueError, match="no channels of type ScreenX and ScreenY with an eye"):
        map_channels([("EEG1", "EEG", ""), ("EEG2", "EEG", "")])


def test_sessions_have_their_own_ports_and_stay_on_this_machine() -> None:
    one, other = configuration("one"), configuration("other")
    assert "ResolveScope=machine" in one and "SessionID=one" in one
    assert [line for line in one.splitlines() if "BasePort" in line] != [
        line for line in other.splitlines() if "BasePort" in line
    ]
    assert "BasePort" not in configuration()


def test_a_session_id_that_would_break_the_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="must be letters, digits"):
        configuration("a\nKnownPeers={everybody}")


def test_the_agent_imports_neither_django_nor_torch_nor_the_heavy_libraries() -> None:
    code = (
        "import sys, pkgutil, importlib, capture.agent\n"
        "import capture.frames, capture.gaze.simulate.samples\n"
        "for module in pkgutil.walk_packages(capture.agent.__path__, 'capture.agent.'):\n"
        "    importlib.import_module(module.name)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert 'pylsl' not in loaded, 'liblsl is loaded before it is needed'\n"
        "print(len([m for m in sys.modules if m.startswith('capture.agent.')]))\n"
        "print(sorted(loaded & {'django', 'torch', 'scipy', 'pandas', 'sklearn', 'channels', 'celery', 'study'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    count, loaded = done.stdout.splitlines() or ("0", done.stderr)
    assert loaded == "[]"
    assert int(count) >= 9


def test_a_missing_liblsl_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    pairing.save(Pairing("http://127.0.0.1:9", (), "", "the station", "credential", "key"), tmp_path / "station.json")
    code = (
        "import sys; sys.modules['pylsl'] = None\n"
        "from capture.agent.main import main\n"
        f"sys.exit(main(['run', '--spool', {str(tmp_path / 'spool')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "gazeroom-agent: pylsl is not installed: pip install 'gazeroom[agent]'.\n"
