"""A recording as a coordinator looks at it: in a real Chromium, with its gaps and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from capture.models import Recording
from capture.services import processing, recordings
from study.models import Enrolment, Membership, User
from study.services import reading
from tests.browser import in_a_browser
from tests.factories import make_answers, make_case, make_study, make_user
from tests.study.viewer_harness import Site, open_page, wait_until

from .synthetic import Scene, column, store_epoch, store_page

pytestmark = pytest.mark.django_db

SENTENCES = [
    {"text": "The heart is not enlarged.", "start": 3000.0, "end": 4200.0},
    {"text": "No pneumothorax.", "start": 6500.0, "end": 7600.0},
]


@pytest.fixture
def coordinator() -> tuple[Recording, User, Scene]:
    """A processed recording with a hole, lost gaze, an absence, a repeated time; and who looks at it."""
    study = make_study(gaze="optional", consented=True, cases=[make_case(rows=1000, columns=1000)])
    enrolment: Enrolment = study.enrolments.get()
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    scene = Scene.zoom_and_pan(3, looks=24)
    rows = np.delete(scene.rows, slice(900, 1080), axis=0)  # 0.6 s that the tracker numbered and never sent
    rows[300:420, [column("LeftScreenValid"), column("RightScreenValid")]] = 0
    rows[1500, 0] = rows[1499, 0]
    last = scene.states[-1]
    away = {**last, "seq": last["seq"] + 1, "t": 9500.0, "visible": False}
    back = {**last, "seq": last["seq"] + 2, "t": 10200.0, "visible": True}
    states = [s for s in scene.states if s["t"] < 9500] + [away, back]
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, rows)
    store_page(recording, states, scene.exchanges)
    answers = make_answers(read)
    answers["report"] = {"text": " ".join(str(s["text"]) for s in SENTENCES), "sentences": SENTENCES}
    reading.submit(read=read, answers=answers, actor=enrolment.user)
    assert processing.process(recording_id=recording.pk) is not None
    recording.refresh_from_db()
    return recording, make_user(roles={study: Membership.Role.COORDINATOR}), scene


def get(user: User, name: str, recording: Recording) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(reverse(name, args=[recording.pk]))


def test_the_replays_data_say_where_something_is_missing(coordinator: tuple[Recording, User, Scene]) -> None:
    recording, user, scene = coordinator
    found = get(user, "capture:track", recording).json()["intervals"]
    assert [one["kind"] for one in found] == ["lost", "gap", "away"]
    lost, gap, away = found
    first = scene.rows[0, 0]
    assert [gap["start"], gap["end"]] == pytest.approx(scene.rows[[899, 1080], 0] - first, abs=2e-3)
    assert gap["why"] == "Samples missing by frame number"
    assert [lost["start"], lost["end"]] == pytest.approx(scene.rows[[300, 420], 0] - first, abs=2e-3)
    assert [away["start"], away["end"]] == pytest.approx(scene.lsl(np.array([9.5, 10.2])) - first, abs=5e-3)


def test_the_page_says_what_is_missing_how_sure_the_clocks_are_and_what_was_left_out(
    coordinator: tuple[Recording, User, Scene],
) -> None:
    recording, user, _ = coordinator
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", get(user, "capture:recording", recording).content.decode()))
    track = recording.tracks.get()
    assert f"tied to within ± {track.clock_bound_ms:.2f} ms" in text
    assert f"{track.quality['clock_exchanges']} exchanges" in text
    assert re.search(r"Samples missing by frame number, at 3\.0 s : 0\.6\d\d s, 180 samples", text.replace("s:", "s :"))
    assert "1 sample came with the time of the sample before, left out." in text
    assert "° RMS-S2S" in text and "° SD, within fixations" in text


def test_the_timeline_draws_what_is_missing_and_the_caption_says_it(
    coordinator: tuple[Recording, User, Scene], tmp_path: Path
) -> None:
    recording, user, _ = coordinator
    site = Site()
    for name in ("recording", "track", "frame"):
        answer = get(user, f"capture:{name}", recording)
        body = answer.content
        if answer.headers.get("Content-Encoding") == "zstd":
            body = zstandard.decompress(body)
        site.pages[reverse(f"capture:{name}", args=[recording.pk])] = (answer.headers["Content-Type"], body)
    html = site.pages[reverse("capture:recording", args=[recording.pk])][1].decode()
    for path in set(re.findall(r'(?:href|src)="/static/([^"]+)"', html)):
        file = finders.find(path)
        if file and "study/viewer" not in path:
            kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[path.rsplit(".", 1)[1]]
            site.pages[f"/static/{path}"] = (kind, Path(file).read_bytes())
    at = f"{site.url}{reverse('capture:recording', args=[recording.pk])}"
    found: dict[str, Any] = {}

    def look(browser: Any) -> None:
        with open_page(browser, at) as (page, console):
            page.wait_for_selector("#replay[data-ready]")
            strip = page.locator(".replay-strip")
            for kind in ("fixation", "sentence", "lost", "away", "gap"):
                found[kind] = strip.locator(f".strip-{kind}").count()
            found["key"] = page.locator(".replay-key li").all_inner_texts()
            for seconds in (1.2, 3.3, 8.0):
                page.eval_on_selector(
                    "#replay input[type=range]",
                    "(e, t) => { e.value = t; e.dispatchEvent(new Event('input')); }",
                    seconds,
                )
                found[seconds] = page.inner_text(".replay-caption")
            wait_until(lambda: page.locator(".replay-fixation").count(), "a fixation")
            page.screenshot(path=tmp_path / "recording.png", full_page=True)
            found["console"] = console

    in_a_browser(look)
    site.close()
    assert found["fixation"] >= 15
    assert [found[kind] for kind in ("sentence", "lost", "away", "gap")] == [2, 1, 1, 1]
    assert found["key"] == [
        "fixations",
        "sentences as they were written",
        "the tracker saw no gaze",
        "no image on the screen",
        "no sample came",
    ]
    assert found[1.2] == "The tracker saw no gaze."
    assert found[3.3] == "No sample came. Samples missing by frame number."
    assert found[8.0] == "No image was on the screen."
    assert found["console"] == []


def test_a_recording_whose_gaze_has_not_come_claims_no_completeness() -> None:
    study = make_study(gaze="optional", consented=True, cases=1)
    enrolment = study.enrolments.get()
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording, _ = recordings.open_recording(read=read)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    coordinator = make_user(roles={study: Membership.Role.COORDINATOR})
    page = get(coordinator, "capture:recording", recording).content.decode()
    assert "not complete yet" in page and "None known" in page
    assert "every sample the tracker numbered is stored" not in page
