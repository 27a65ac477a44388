"""A real Chromium for tests: the one named by CHROMIUM, the machine's own, or the one playwright has installed.

Where there is none, tests that ask for `browser` are reported as skipped, with the remedy.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


def chromium_path() -> str | None:
    """The browser to use, or None when this machine has none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
        return own if Path(own).exists() else None
    except Exception:
        return None


def launch(playwright: Any, *extra: str) -> Any:
    """A headless Chromium of playwright's; `extra` are more command line flags."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium found: install it (apt install chromium) or set CHROMIUM to its path")
    return playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, *extra])


@pytest.fixture(scope="module")
def playwright_driver() -> Iterator[Any]:
    """One playwright for the module's browsers."""
    from playwright.sync_api import expect, sync_playwright

    # Long enough for a machine that is busy with other tests: only a failure waits so long.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright_driver: Any) -> Iterator[Any]:
    """One Chromium for the module's tests."""
    chromium = launch(playwright_driver)
    yield chromium
    chromium.close()


def in_a_browser(look: Callable[[Any], None]) -> None:
    """Run `look` with a browser, in a thread of its own: playwright's loop would keep Django's ORM from this one."""
    if chromium_path() is None:
        pytest.skip("no Chromium found: install it (apt install chromium) or set CHROMIUM to its path")
    failed: list[BaseException] = []

    def work() -> None:
        from playwright.sync_api import sync_playwright

        try:
            with sync_playwright() as playwright:
                browser = launch(playwright)
                look(browser)
                browser.close()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
