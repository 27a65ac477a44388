"""The explorer as a coordinator sees it: in a real Chromium, on the live site, with its content security policy."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from django.conf import settings as site
from django.test import Client
from django.urls import reverse
from PIL import Image

from capture.tasks import process_recording
from study.models import User
from tests.analysis.explored import recorded_comparison
from tests.browser import in_a_browser
from tests.study.viewer_harness import open_page, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_dir")]


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client.cookies[site.SESSION_COOKIE_NAME].value


def grey_levels(page: Any, selector: str) -> float:
    """How much the picture on a canvas varies, as it is seen: its standard deviation."""
    picture = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("L")
    return float(np.asarray(picture, np.float64).std())


def at(page: Any, selector: str) -> float:
    return float(page.get_attribute(selector, "data-position"))


def test_a_coordinator_replays_a_readers_gaze_beside_gazex_and_beside_the_other_arm(
    live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_recording, "apply_async", lambda **_: None)
    study, coordinator, cases = recorded_comparison()
    cookie = {"name": site.SESSION_COOKIE_NAME, "value": session_of(coordinator), "url": live_server.url}
    listed = f"{live_server.url}{reverse('analysis:explorer', args=[study.slug])}"
    asked: list[str] = []
    found: dict[str, Any] = {}

    def look(browser: Any) -> None:
        from axe_playwright_python.sync_playwright import Axe

        with open_page(browser, "about:blank") as (page, console):
            page.on("request", lambda request: asked.append(request.url))
            page.context.add_cookies([cookie])
            page.goto(listed)
            found["axe, list"] = Axe().run(page).response["violations"]
            page.get_by_role("link", name=cases[0].label).click()
            page.wait_for_selector("#explorer[data-ready]")
            wait_until(lambda: grey_levels(page, "#left canvas") > 5, "a picture on the left")
            wait_until(lambda: grey_levels(page, "#right canvas") > 5, "a picture on the right")
            found["marks"] = page.locator("#left .reader-mark").count()
            found["reference"] = [page.locator(f"{side} .reference-box").count() for side in ("#left", "#right")]
            found["named"] = page.locator("#right .reference-label").all_text_contents()
            found["boxes"] = page.locator("#right .ai-box").count()
            found["axe, case"] = Axe().run(page).response["violations"]

            page.select_option("select[name=reader]", "R01")
            page.wait_for_url(re.compile("reader=R01"))
            page.wait_for_selector("#explorer[data-ready]")
            page.click("#left .replay-play")
            wait_until(lambda: page.locator("#right .ai-trail .trail-dot").count(), "GazeX's inspection")
            wait_until(lambda: page.locator("#left .replay-fixation").count(), "a fixation of the reader's")
            wait_until(lambda: at(page, "#left") > 1.5, "1.5 seconds")
            page.click("#left .replay-play")
            told = page.inner_text(".ai-clock")
            found["in step"] = float(told.split(" / ")[0]) - at(page, "#left")
            found["head"] = float(page.get_attribute("#right .strip-head", "x")) / 1000 - at(page, "#left")
            page.check("#stretch")
            length, total = float(page.get_attribute("#left input[type=range]", "max")), float(told.split()[2])
            stretched = float(page.inner_text(".ai-clock").split(" / ")[0])
            found["stretched"] = stretched - at(page, "#left") / length * total

            page.uncheck(".layer-reference input")
            page.reload()
            page.wait_for_selector("#explorer[data-ready]")
            found["hidden"] = page.locator("#left .reference-box").is_visible()
            found["kept"] = page.is_checked("#stretch")

            page.select_option("select[name=beside]", "gazex")
            page.wait_for_url(re.compile("beside=gazex"))
            page.wait_for_selector("#right[data-ready]")
            page.wait_for_selector("#explorer[data-ready]")
            page.click("#right .replay-play")
            wait_until(lambda: at(page, "#left") > 0.5, "the left follows the right")
            page.click("#right .replay-play")
            found["both"] = at(page, "#left") - at(page, "#right")
            page.click("h1")
            page.keyboard.press("n")
            page.wait_for_url(re.compile(re.escape(cases[1].label)))
            page.wait_for_selector("#explorer[data-ready]")
            found["next"] = page.url
            page.keyboard.press("p")
            page.wait_for_url(re.compile(re.escape(cases[0].label)))
            page.wait_for_selector("#explorer[data-ready]")
            found["console"] = list(console)

    in_a_browser(look)
    # Two marks of each of two readers in each of two arms.
    assert (found["marks"], found["reference"], found["boxes"]) == (8, [1, 1], 1)
    assert len(found["named"]) == 1 and found["named"][0].startswith("Reference: ")
    # Clocks are written to a tenth of a second.
    assert abs(found["in step"]) <= 0.06 and abs(found["head"]) <= 0.02 and abs(found["stretched"]) <= 0.06
    assert (found["hidden"], found["kept"]) == (False, True)
    assert abs(found["both"]) <= 0.02
    assert "reader=R01" in found["next"] and "layers=" in found["next"]
    assert found["console"] == []
    assert [url for url in asked if not url.startswith((live_server.url, "blob:", "data:", "about:"))] == []
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found["axe, list"]] == []
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found["axe, case"]] == []


def test_a_case_whose_frame_is_lost_says_so_and_keeps_its_answers(
    live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_recording, "apply_async", lambda **_: None)
    study, coordinator, cases = recorded_comparison()
    cookie = {"name": site.SESSION_COOKIE_NAME, "value": session_of(coordinator), "url": live_server.url}
    cases[0].images.get().frame_path.unlink()
    address = f"{live_server.url}{reverse('analysis:explorer_case', args=[study.slug, cases[0].label])}"
    found: dict[str, Any] = {}

    def look(browser: Any) -> None:
        with open_page(browser, "about:blank") as (page, _):
            page.context.add_cookies([cookie])
            page.goto(address)
            page.wait_for_selector("#left [role=alert]")
            found["said"] = page.inner_text("#left [role=alert]")
            found["rows"] = page.locator("table.answers tbody tr").count()

    in_a_browser(look)
    assert "missing on the server" in found["said"] and found["rows"] == 4
