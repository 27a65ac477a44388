"""The page's viewport log through a long outage of the server and a reload of the page, in a real Chromium."""

# ruff: noqa: F811 - pytest hands fixtures over by the names that were imported

from __future__ import annotations

from typing import Any

from tests.browser import browser, playwright_driver  # noqa: F401 - fixtures
from tests.study.test_viewer import fiducials, site, sockets  # noqa: F401 - fixtures
from tests.study.viewer_harness import Site, Sockets, open_page, shown, wait_until


def draw(page: Any, frames: int) -> int:
    """Zoom in and out until so many more frames are on the screen; the last one's number."""
    number = int(page.get_attribute("#stage", "data-seq"))
    page.mouse.move(300, 300)
    for step in range(frames):
        page.mouse.wheel(0, 60 if step % 2 else -60)
        number = shown(page, number)
    return number


def kept(page: Any) -> list[int]:
    """Numbers of the states that lie in the browser's own store."""
    return page.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open("gazeroom-capture");
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
                const keys = opening.result.transaction("items").objectStore("items").getAllKeys();
                keys.onsuccess = () => { opening.result.close();
                    resolve(keys.result.filter((key) => key[1] === "states").map((key) => key[2])); };
            };
        })"""
    )


def test_states_of_an_outage_and_of_two_pages_are_each_in_the_log_once_and_in_order(
    site: Site, sockets: Sockets, browser: Any
) -> None:
    url = site.serve_read(fiducials(), capture=sockets.capture)
    states = sockets.log.stored["states"]

    with open_page(browser, url) as (page, _):
        shown(page)
        last = draw(page, 3)
        wait_until(lambda: len(states) > last, "the states before the outage")
        sockets.close_pages()
        before = len(states)
        alone = draw(page, 12)
        wait_until(lambda: alone in kept(page), "every state in the browser's store")
        assert set(range(before, alone + 1)) <= set(kept(page))
        page.reload()
        first = shown(page, alone)
        again = draw(page, 8)
        assert len(states) == before, "the server was away"
        wait_until(lambda: again in kept(page), "the second page's states in the browser's store")
        assert set(range(before, again + 1)) <= set(kept(page)), "a reload forgot what was not acknowledged"
        sockets.open_pages()
        wait_until(lambda: len(states) > again, "every state in the log", seconds=30)
        after = draw(page, 2)
        wait_until(lambda: len(states) > after, "the states after the outage")
        wait_until(lambda: not kept(page), "the acknowledged states forgotten")

    assert [state["seq"] for state in states] == list(range(len(states)))
    assert before <= alone < first <= again < after
    pages = [state["page"] for state in states]
    assert len(set(pages)) == 2 and pages == sorted(pages, key=pages.index), "the pages' states are mixed"
    assert pages.index(pages[-1]) in range(alone + 1, first + 1)
    times = [state["t"] for state in states]
    assert times == sorted(times)
