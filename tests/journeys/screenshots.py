"""Takes the documentation's pictures from a running site: `python -m tests.journeys.screenshots docs/images`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import launch
from tests.journeys.site import running_site
from tests.journeys.test_one_read import Person, open_next, read_case


def calibrate(page: Page) -> None:
    """Pass the station check of the study's worklist card, as far as its result."""
    page.goto("/worklist/")
    card = page.locator("section.card", has=page.get_by_role("heading", name="GazeX crossover", exact=True))
    consent = card.get_by_role("button", name="I agree to the recording")
    if consent.count():
        consent.click()
    card.locator("form[action$='/next/'] button").click()
    page.wait_for_url(re.compile(r"/capture/station/"))
    start = page.get_by_role("button", name="Start calibration")
    expect(start).to_be_enabled()
    start.click()
    expect(page.locator("#continue")).to_be_visible(timeout=60_000)


def take(folder: Path) -> None:
    """Write the pictures that the guides show into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_site(Path(tempfile.mkdtemp())) as site, sync_playwright() as playwright:
        browser = launch(playwright)
        reader = Person(browser, site, "reader")
        page = reader.page
        calibrate(page)
        page.screenshot(path=folder / "station-check.png", full_page=True)
        for _ in range(2):
            open_next(reader, "GazeX crossover")
            if json.loads(page.locator("#read-config").text_content() or "{}")["assistance"] == "concurrent":
                expect(page.locator("#gazex")).to_be_visible()
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / "reading-room.png")
            read_case(page, look_ms=1500)
        coordinator = Person(browser, site, "coordinator")
        page = coordinator.page
        page.goto("/analysis/gazex-simulated/")
        expect(page.locator("img[src*='.svg']").first).to_be_visible()
        page.screenshot(path=folder / "results.png")
        page.goto("/analysis/gazex-simulated/explorer/")
        page.locator("main table th[scope=row] a").first.click()
        page.wait_for_selector("#explorer[data-ready]")
        page.select_option("select[name=reader]", "R01")
        page.wait_for_url(re.compile("reader=R01"))
        page.wait_for_selector("#explorer[data-ready]")
        page.click("#left .replay-play")
        page.wait_for_timeout(6000)
        page.screenshot(path=folder / "explorer.png")
        page.goto("/capture/studies/gazex-crossover/calibrations/")
        page.screenshot(path=folder / "calibration-quality.png", full_page=True)
        researcher = Person(browser, site, "researcher")
        page = researcher.page
        page.goto("/capture/recordings/")
        page.locator("main a[href*='/capture/recordings/']:not([href*='?'])").last.click()
        page.wait_for_url(re.compile(r"/capture/recordings/[0-9a-f-]{36}/"))
        expect(page.locator("#replay canvas").first).to_be_visible()
        page.get_by_role("button", name=re.compile("^play", re.I)).first.click()
        page.wait_for_timeout(4000)
        page.screenshot(path=folder / "replay.png")
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
