"""Pairing, as the person at the workstation meets it: every way it can fail is one sentence."""

from __future__ import annotations

import io
import json
import logging
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.agent import pairing
from capture.agent.main import main
from capture.agent.pairing import Pairing, PairingError, Presence
from capture.agent.terminal import Terminal, TerminalHandler, status_line
from capture.tokens import fingerprint, mint, was_minted
from tests.capture.agent.harness import CREDENTIAL, NUMBER, Station, free_port, token_for

ANSWER = {"station": NUMBER, "name": "Reading room 2", "credential": CREDENTIAL}


class Site:
    """A server that answers every POST with `status` and `answer`, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.answer = 201, json.dumps(ANSWER)
        self.location = ""
        self.heard: list[tuple[str, dict[str, Any], str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                site.heard.append((self.path, body, self.headers.get("Authorization", "")))
                self.send_response(site.status)
                if site.location:
                    self.send_header("Location", site.location)
                self.end_headers()
                self.wfile.write(site.answer.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_the_pair_command_keeps_what_it_was_given_beside_the_spool(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / "deep" / "spool"
    assert main(["pair", f"{site.url}/capture/stations/", "K7M2Q-XR4TB", "--spool", str(spool)]) == 0
    assert "this is Reading room 2 of http://127.0.0.1" in capsys.readouterr().out
    path = tmp_path / "deep" / "station.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(path.parent.iterdir()) == [path]
    kept = pairing.load(path)
    ((where, sent, _),) = site.heard
    assert where == "/capture/stations/pair/" and sent["code"] == "K7M2Q-XR4TB"
    # The key is this station's own: made here, told to the server once.
    assert kept.key == sent["key"] and len(kept.key) >= 43
    assert (kept.station, kept.credential, kept.server) == (NUMBER, CREDENTIAL, site.url)
    assert kept.origins == (site.url.replace("127.0.0.1", "localhost"), site.url)
    assert CREDENTIAL not in repr(kept) and kept.key not in repr(kept)


def failed(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failing command writes; nothing is kept."""
    assert main([*arguments, "--spool", str(tmp_path / "spool")]) == 1
    assert not (tmp_path / "station.json").exists()
    error = capsys.readouterr().err
    assert error.startswith("gazeroom-agent: ") and error.count("\n") == 1
    return error.removeprefix("gazeroom-agent: ").strip()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("reading.example", "no address of a site: name it like https://"),
        ("ftp://reading.example", "no address of a site"),
        ("https://", "no address of a site"),
        ("https://host:port", "no address of a site"),
        ("http://reading.example", "in the clear: use https://reading.example"),
        ("https://no-such-host.invalid", "https://no-such-host.invalid cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence(
    server: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in failed(["pair", server, "K7M2Q-XR4TB"], tmp_path, capsys)


def test_a_server_that_is_away_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = failed(["pair", f"http://127.0.0.1:{free_port()}", "K7M2Q-XR4TB"], tmp_path, capsys)
    assert "cannot be reached (Connection refused): check the address and the network." in sentence


@pytest.mark.parametrize(
    ("status", "answer", "location", "words"),
    [
        (403, '{"error": "This code has expired."}', "", "This code has expired."),
        (404, "<html>", "", "answered HTTP 404 and no sentence: is it a Gazeroom site of this version?"),
        (502, "", "", "answered HTTP 502 and no sentence"),
        (301, "", "https://elsewhere.example/", "sends on to https://elsewhere.example/: pair with the address"),
        (200, "<html>", "", "did not answer as a Gazeroom site does"),
        (200, "[]", "", "did not answer as a Gazeroom site does"),
        (200, "{}", "", "gave an answer that is no pairing"),
    ],
    ids=["refused", "no such page", "a broken proxy", "a redirect", "a page", "a list", "nothing in it"],
)
def test_an_answer_that_is_no_pairing_is_one_sentence(
    site: Site, status: int, answer: str, location: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.status, site.answer, site.location = status, answer, location
    assert words in failed(["pair", site.url, "K7M2Q-XR4TB"], tmp_path, capsys)
    assert len(site.heard) == 1, "a secret was sent on to another address"


def test_an_unpaired_station_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not paired: ask a coordinator for a code" in failed(["run"], tmp_path, capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--source", "tobii"], "--source tobii needs --tobii-python"),
        (["--source", "replay"], "--source replay and --replay FILE belong together"),
    ],
)
def test_a_wrong_option_is_told_before_the_missing_pairing(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in failed(["run", *options], tmp_path, capsys)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"server": 1}', "\x00"])
def test_a_damaged_pairing_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "station.json").write_text(text)
    with pytest.raises(PairingError, match="is damaged: pair this station again"):
        pairing.load(tmp_path / "station.json")


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Reading.Example/capture/stations/?x#y", "https://reading.example"),
        ("https://reading.example:443", "https://reading.example"),
        ("https://reading.example:8443/", "https://reading.example:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_address_of_the_site_gives_its_origin(address: str, origin: str) -> None:
    assert pairing.origin_of(address) == origin


def test_recordings_go_to_the_paired_site_or_stay_on_this_computer() -> None:
    paired = Pairing("https://a.example:8443", ("https://a.example:8443",), NUMBER, "", "", "")
    good = ("wss://a.example:8443/ws/ingest/", "ws://127.0.0.1:8000/ws/ingest/", "ws://localhost/ws/ingest/")
    bad = ("ws://a.example:8443/", "wss://a.example/", "wss://a.example:8443.evil.example/", "wss://evil.example/")
    assert all(paired.sends_to(socket) for socket in good)
    assert not any(paired.sends_to(socket) for socket in bad)


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text(), st.uuids(), st.uuids())
def test_a_token_is_good_for_its_recording_at_its_station_only(noise: str, recording: Any, other: Any) -> None:
    mine, theirs = fingerprint("mine"), fingerprint("theirs")
    token = mint(mine, str(recording))
    assert was_minted(token, mine, str(recording))
    assert not was_minted(token, theirs, str(recording))
    assert was_minted(token, mine, str(other)) is (other == recording)
    assert not was_minted(token + noise, mine, str(recording)) or not noise
    assert not was_minted(noise, mine, str(recording))


async def test_the_agent_starts_nothing_that_its_server_did_not_mint(station: Station) -> None:
    station.simulator()
    station.agent()
    page = await station.page()
    recording, other = str(uuid4()), str(uuid4())
    here = "ws://127.0.0.1:9/ws/ingest/"
    elsewhere = mint(fingerprint("another station's credential"), recording)
    for token, socket, words in (
        ("invented", here, f"not made for recording {recording} at this station"),
        (elsewhere, here, f"not made for recording {recording} at this station"),
        (token_for(other), here, f"not made for recording {recording} at this station"),
        (token_for(recording), "wss://evil.example/ws/ingest/", "is not of http://127.0.0.1:9, the site this station"),
    ):
        answer = await page.ask("start", "started", recording=recording, token=token, socket=socket)
        assert answer["op"] == "error" and words in answer["sentence"]
    assert not (station.spool / recording).exists()
    assert (await page.start(here, recording))["recording"] == recording
    await page.stop()
    await page.close()
    # What the person at the terminal sees where it is no terminal: a line for what begins, and one for what ends.
    lines = station.log.read_text()
    assert f"● RECORDING GAZE: {recording}" in lines and f"○ Recording ended: {recording}" in lines
    assert "\x1b" not in lines and "Not recording" not in lines


async def test_a_station_that_is_revoked_stops_recording_and_says_so(station: Station, site: Site) -> None:
    site.status, site.answer = 200, "{}"
    paired = Pairing(site.url, ("http://reading.room:8000",), NUMBER, "the station", CREDENTIAL, "the-station-key")
    pairing.save(paired, pairing.file_beside(station.spool))
    station.simulator()
    station.agent("--speak-every", "0.2")
    page = await station.page()
    recording = str(uuid4())
    await page.start("ws://127.0.0.1:9/ws/ingest/", recording)
    where, told, header = site.heard[-1]
    assert where == "/capture/stations/seen/" and header == f"Bearer {CREDENTIAL}" and "version" in told
    site.status, site.answer = 403, '{"error": "Station revoked: pair it again (the station)."}'
    while (status := await page.heard("status"))["recording"]:
        pass
    assert status["problem"] == "Station revoked: pair it again (the station)."
    answer = await page.ask(
        "start", "started", recording=recording, token=token_for(recording), socket="ws://127.0.0.1:9/"
    )
    assert answer["sentence"] == "Station revoked: pair it again (the station)."
    assert "○ Recording ended: Station revoked" in station.log.read_text()


def test_presence_tells_a_server_that_is_away_from_one_that_refuses(site: Site) -> None:
    paired = Pairing(site.url, (), NUMBER, "", CREDENTIAL, "")
    presence = Presence(paired, lambda: {"tracker": {"found": False}})
    site.status, site.answer = 200, "{}"
    presence.speak()
    assert (presence.reached, presence.refused) == (True, None)
    for status, answer, reached, refused in (
        (503, "", False, None),
        (403, '{"error": "Station revoked."}', True, "Station revoked."),
        (500, "", False, "Station revoked."),  # nobody has taken it back
        (200, "{}", True, None),
    ):
        site.status, site.answer = status, answer
        presence.speak()
        assert (presence.reached, presence.refused) == (reached, refused)


# ── the terminal ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


WELCOME = {"tracker": {"found": True, "name": "Tobii Pro Fusion", "rate_hz": 250.0}}
STATUS = {"recording_id": "1f2e", "tracker": True, "pending_frames": 12, "problem": None}


def test_the_live_line_says_what_is_recorded_with_what_and_what_waits() -> None:
    recording = status_line(WELCOME, STATUS, server="server reached")
    assert recording == "● RECORDING GAZE 1f2e · Tobii Pro Fusion, 250 Hz · 12 frames to send · server reached"
    idle = {"recording_id": None, "tracker": False, "pending_frames": 0, "problem": "The disk is full."}
    line = status_line({"tracker": {"found": False}}, idle, server="server away")
    assert line == "○ Not recording · no gaze arriving · nothing to send · server away · The disk is full."


def test_lines_and_the_log_stay_above_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    terminal = Terminal(screen)
    terminal.show("● RECORDING GAZE 1f2e", alarm=True)
    logger = logging.Logger("test")
    logger.addHandler(TerminalHandler(terminal))
    logger.warning("the disk is slow")
    terminal.end()
    red = "\x1b[1;31m●\x1b[0m RECORDING GAZE 1f2e"
    assert screen.getvalue() == f"\r\x1b[K{red}\r\x1b[Kthe disk is slow\n{red}\r\x1b[K"


def test_a_file_gets_plain_lines_and_no_live_line() -> None:
    file = io.StringIO()
    terminal = Terminal(file)
    terminal.show("● RECORDING GAZE 1f2e", alarm=True)
    terminal.say("Listening.")
    terminal.end()
    assert file.getvalue() == "Listening.\n"
