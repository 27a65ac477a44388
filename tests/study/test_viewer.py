"""The reading room in a real Chromium, against a stand-in site with the site's own template, headers and build."""

# ruff: noqa: F811 - pytest hands fixtures over by the names that were imported

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut

from tests.browser import browser, launch, playwright_driver  # noqa: F401 - fixtures
from tests.golden.make_affine import table
from tests.study.viewer_harness import FINDINGS, STATIC, Site, Sockets, open_page, shown, wait_until

FIDUCIALS = [(100, 90), (512, 300), (700, 620), (300, 800), (890, 130)]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def sockets(site: Site) -> Iterator[Sockets]:
    sockets = Sockets(site.url)
    yield sockets
    sockets.close()


def fiducials() -> np.ndarray:
    """1024 × 1024, dark, with bright 9 × 9 squares centred on FIDUCIALS (x, y)."""
    pixels = np.full((1024, 1024), 100, np.uint16)
    for x, y in FIDUCIALS:
        pixels[y - 4 : y + 5, x - 4 : x + 5] = 4095
    return pixels


def screenshot(page: Any) -> np.ndarray:
    """The page in grey, float64 [rows, columns], device pixels."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), float)


def worst_centroid_error(page: Any, state: dict[str, Any]) -> tuple[float, int]:
    """Largest distance in CSS px between a square on the screen and where the logged matrix puts it; squares seen."""
    picture = screenshot(page)
    dpr, a = state["dpr"], state["a"]
    left, top, width, height = state["rect"]
    worst, seen = 0.0, 0
    for x, y in FIDUCIALS:
        u, v = a[0] * x + a[2] * y + a[4], a[1] * x + a[3] * y + a[5]
        reach = 9 * math.hypot(a[0], a[1])
        if not (left + reach < u < left + width - reach and top + reach < v < top + height - reach):
            continue
        x0, x1 = round((u - reach) * dpr), round((u + reach) * dpr)
        y0, y1 = round((v - reach) * dpr), round((v + reach) * dpr)
        patch = picture[y0:y1, x0:x1]
        weight = patch - np.median(patch)
        weight[weight < 20] = 0
        assert weight.sum() > 0, f"no square near ({u:.0f}, {v:.0f})"
        rows, columns = np.indices(patch.shape)
        cu = (x0 + (columns * weight).sum() / weight.sum() + 0.5) / dpr
        cv = (y0 + (rows * weight).sum() / weight.sum() + 0.5) / dpr
        worst, seen = max(worst, math.hypot(cu - u, cv - v)), seen + 1
    return worst, seen


def latest(sockets: Sockets, page: Any) -> dict[str, Any]:
    """The state of the frame on the screen, as it was logged."""
    number = int(page.get_attribute("#stage", "data-seq"))
    states = sockets.log.stored["states"]
    wait_until(lambda: len(states) > number, f"state {number} in the log")
    return states[number]


def timed(sockets: Sockets) -> set[str]:
    """The pages whose exchanges with the agent's clock have been logged."""
    return {page for *_, page in sockets.log.stored["clock"]}


def test_golden_table_is_what_its_generator_writes() -> None:
    committed = json.loads((STATIC.parents[1] / "tests/golden/affine.json").read_text())

    assert committed == table()


@pytest.mark.parametrize("factor", [1, 1.5])
def test_squares_on_the_screen_lie_where_the_logged_matrix_puts_them(
    factor: float,
    site: Site,
    sockets: Sockets,
    playwright_driver: Any,
) -> None:
    chromium = launch(playwright_driver, f"--force-device-scale-factor={factor}", "--window-size=1280,900")
    url = site.serve_read(fiducials(), capture=sockets.capture)

    with open_page(chromium, url, width=0) as (page, console):
        number = shown(page)
        assert page.evaluate("devicePixelRatio") == factor
        errors = [worst_centroid_error(page, latest(sockets, page))]
        page.mouse.move(400, 350)
        page.mouse.wheel(0, -400)
        number = shown(page, number)
        errors.append(worst_centroid_error(page, latest(sockets, page)))
        page.mouse.down(button="middle")
        page.mouse.move(463, 311, steps=3)
        page.mouse.up(button="middle")
        shown(page, number + 2)
        errors.append(worst_centroid_error(page, latest(sockets, page)))
    chromium.close()

    assert errors[0][1] == len(FIDUCIALS)
    assert all(seen >= 2 for _, seen in errors)
    assert max(error for error, _ in errors) <= 0.5
    assert console == []


def test_tall_pixels_are_drawn_with_their_physical_aspect(site: Site, sockets: Sockets, browser: Any) -> None:
    image = {"rowSpacing": 0.3, "columnSpacing": 0.2}
    url = site.serve_read(fiducials(), capture=sockets.capture, image=image)

    with open_page(browser, url) as (page, _):
        shown(page)
        state = latest(sockets, page)
        error, seen = worst_centroid_error(page, state)

    assert state["a"][3] / state["a"][0] == pytest.approx(1.5)
    assert (error <= 0.5, seen) == (True, len(FIDUCIALS))


def window(function: str) -> tuple[Dataset, dict[str, Any]]:
    dataset = Dataset()
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 1800, 1500, function
    return dataset, {"type": "window", "center": 1800, "width": 1500, "function": function}


def lookup_table() -> tuple[Dataset, dict[str, Any]]:
    data = (1023 * (np.arange(3000) / 2999) ** 0.5).astype(np.uint16)
    item, dataset = Dataset(), Dataset()
    item.LUTDescriptor, item.LUTData = [3000, 400, 10], data.tolist()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    dataset.VOILUTSequence = [item]
    return dataset, {"type": "lut", "first": 400, "bits": 10, "data": data.tolist()}


@pytest.mark.parametrize(
    ("dataset", "voi", "top"),
    [
        (*window("LINEAR"), 4095),
        (*window("LINEAR_EXACT"), 4095),
        (*window("SIGMOID"), 4095),
        (*lookup_table(), 1023),
    ],
    ids=["LINEAR", "LINEAR_EXACT", "SIGMOID", "VOI LUT"],
)
def test_grey_levels_are_those_of_pydicom(
    dataset: Dataset,
    voi: dict[str, Any],
    top: int,
    site: Site,
    browser: Any,
) -> None:
    # 1024 values in flat blocks of 4 × 4 pixels, so that a block's middle is the value itself.
    values = (np.arange(1024, dtype=np.uint16) * 4).reshape(32, 32)
    values[-1, -1] = 4095
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsStored, dataset.BitsAllocated = 12, 16
    expected = apply_voi_lut(values, dataset).astype(float) * 255 / top
    url = site.serve_read(values.repeat(4, 0).repeat(4, 1), image={"voi": [voi], "max": 4095})

    with open_page(browser, url) as (page, console):
        shown(page)
        picture = screenshot(page)

    scale = 800 / 128
    left = (920 - 800) / 2
    rows = ((np.arange(32) * 4 + 2) * scale).astype(int)
    columns = (left + (np.arange(32) * 4 + 2) * scale).astype(int)
    # A corner of the read-out stands over the image's last rows at the left.
    errors = np.abs(picture[np.ix_(rows, columns)] - expected)[:30]
    assert errors.max() <= 3
    assert expected.std() > 30, "the case shows nothing"
    assert console == []


@pytest.mark.parametrize("monochrome1", [False, True], ids=["MONOCHROME2", "MONOCHROME1"])
def test_polarity_follows_the_file_and_the_readers_inversion(monochrome1: bool, site: Site, browser: Any) -> None:
    pixels = np.zeros((512, 512), np.uint16)
    pixels[:, 256:] = 4095
    url = site.serve_read(pixels, image={"invert": monochrome1})

    def sides(page: Any) -> tuple[float, float]:
        picture = screenshot(page)
        return picture[400, 260], picture[400, 660]

    with open_page(browser, url) as (page, _):
        number = shown(page)
        before = sides(page)
        page.keyboard.press("i")
        shown(page, number)
        after = sides(page)

    assert before == ((255, 0) if monochrome1 else (0, 255))
    assert after == before[::-1]


def test_a_reduced_image_shows_area_means(site: Site, browser: Any) -> None:
    # A one-pixel checkerboard, four image pixels to a screen pixel: plain sampling would show black and white.
    y, x = np.indices((2048, 2048))
    pixels = (((x + y) % 2) * 4094 + 1).astype(np.uint16)
    url = site.serve_read(pixels)

    with open_page(browser, url, width=872, height=512) as (page, _):
        shown(page)
        picture = screenshot(page)[20:470, 20:480]

    assert picture.std() < 2
    assert abs(picture.mean() - 127.5) < 2


def test_every_drawn_frame_is_stored_once_and_in_order_over_a_lost_connection(
    site: Site,
    sockets: Sockets,
    browser: Any,
) -> None:
    sockets.log.hang_up_after = 6
    url = site.serve_read(fiducials(), capture=sockets.capture)

    with open_page(browser, url) as (page, _):
        shown(page)
        page.mouse.move(300, 300)
        for step in range(16):
            page.mouse.wheel(0, 60 if step % 3 else -60)
            page.wait_for_timeout(20)
        page.wait_for_timeout(200)
        number = int(page.get_attribute("#stage", "data-seq"))
        states = sockets.log.stored["states"]
        wait_until(lambda: len(states) > number, "every state in the log")

    assert sockets.log.connections == 2
    assert [state["seq"] for state in states] == list(range(len(states)))
    assert len(states) >= 8
    times = [state["t"] for state in states]
    assert times == sorted(times)
    assert {"t", "a", "rect", "dpr", "screenX", "screenY", "view", "visible", "focus", "cause"} <= states[0].keys()
    assert states[0]["cause"] == "image" and states[-1]["cause"] == "zoom"


def test_a_reload_goes_on_with_the_numbers_the_clock_and_the_draft(site: Site, sockets: Sockets, browser: Any) -> None:
    url = site.serve_read(fiducials(), capture=sockets.capture)

    with open_page(browser, url) as (page, _):
        shown(page)
        page.keyboard.press("4")
        page.keyboard.press("Enter")
        page.keyboard.type("Clear.")
        before = latest(sockets, page)
        wait_until(lambda: timed(sockets) == {before["page"]}, "an exchange of the first page")
        page.reload()
        number = shown(page)
        after = latest(sockets, page)
        wait_until(lambda: after["page"] in timed(sockets), "an exchange of the second page")
        assert page.input_value("#report") == "Clear."
        assert page.is_checked("#finding-0-4")
        wait_until(lambda: len(site.events()) > 5, "the events")

    assert number > before["seq"]
    assert after["t"] > before["t"]
    states, clock = sockets.log.stored["states"], sockets.log.stored["clock"]
    assert [state["seq"] for state in states] == list(range(len(states)))
    # One clock over the reload: the offset did not jump out of what each exchange, however slow, proves of it.
    most, least = min(t1 - t0 / 1000 for t0, t1, *_ in clock), max(t2 - t3 / 1000 for _, _, t2, t3, _ in clock)
    assert least - most < 0.05
    # Yet each page's exchanges are known, because the wall clock that joins them may be set meanwhile.
    assert {before["page"], after["page"]} == timed(sockets) == {state["page"] for state in states}
    assert before["page"] != after["page"]
    numbers = [event["seq"] for event in site.events()]
    assert numbers == list(range(len(numbers)))


def test_clock_exchanges_come_on_the_pages_own_clock(site: Site, sockets: Sockets, browser: Any) -> None:
    url = site.serve_read(fiducials())

    with open_page(browser, url) as (page, console):
        shown(page)
        # A worker made late has another time origin than the page: that difference must not be in its times.
        page.wait_for_timeout(300)
        answer = page.evaluate(
            """async (url) => {
                const { connectAgent } = await import("/static/study/viewer/agent-client.js");
                const before = performance.now();
                const enter = async (station) => ({ station, name: "", key: "key" });
                const agent = await connectAgent({ url, enter });
                await new Promise((resolve) => setTimeout(resolve, 2500));
                const samples = await agent.collect(0.1);
                const { welcome, exchanges } = agent;
                return { welcome, exchanges, samples, before, after: performance.now() };
            }""",
            sockets.agent_url,
        )

    exchanges = np.array(answer["exchanges"])
    assert len(exchanges) >= 21, "twenty at once, then one a second"
    assert (exchanges[:, 3] >= exchanges[:, 0]).all() and (exchanges[:, 2] >= exchanges[:, 1]).all()
    assert answer["before"] <= exchanges[0, 0] and exchanges[-1, 3] <= answer["after"]
    assert exchanges[19, 3] - exchanges[0, 0] < 1000
    trips = (exchanges[:, 3] - exchanges[:, 0]) / 1000 - (exchanges[:, 2] - exchanges[:, 1])
    offsets = (exchanges[:, 1] + exchanges[:, 2]) / 2 - (exchanges[:, 0] + exchanges[:, 3]) / 2000
    best = np.argsort(trips)[:5]
    assert np.ptp(offsets[best]) <= trips[best].max()
    assert answer["welcome"]["display"]["width_px"] == 1280
    assert answer["samples"]["t"] == [1.0]
    assert console == []


def test_a_wrong_station_key_is_one_sentence(site: Site, sockets: Sockets, browser: Any) -> None:
    with open_page(browser, site.serve_read(fiducials())) as (page, _):
        sentence = page.evaluate(
            """async (url) => {
                const { connectAgent } = await import("/static/study/viewer/agent-client.js");
                const enter = async (station) => ({ station, name: "", key: "wrong" });
                return connectAgent({ url, enter }).catch((error) => error.message);
            }""",
            sockets.agent_url,
        )

    assert sentence == "The station key is wrong: pair this station with the site again."


def test_a_station_the_server_refuses_records_nothing_and_says_why(site: Site, sockets: Sockets, browser: Any) -> None:
    url = site.serve_read(fiducials(), capture={**sockets.capture, "required": False})
    refusal = "Station revoked: pair it again (the station)."
    site.answers["/enter/"] = lambda body: (403, {"error": refusal})
    with open_page(browser, url) as (page, _):
        wait_until(lambda: page.locator("#indicator-note").text_content() == refusal, "the refusal")
        assert page.locator("#indicator-text").text_content() == "Not recording"
    asked = [body for path, body in site.posted if path == "/enter/"]
    assert asked[0]["station"] == sockets.station.number and asked[0]["recording"]
    assert "start" not in sockets.station.calls


def test_the_page_is_isolated_quiet_and_without_scrollbars(site: Site, browser: Any) -> None:
    with open_page(browser, site.serve_read(fiducials(), findings=[*FINDINGS, *map(str, range(8))])) as (page, console):
        shown(page)
        assert page.evaluate("crossOriginIsolated")
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        wait_until(site.events, "the first events")

    assert size == [1280, 800]
    assert console == []


def test_keys_and_mouse_rate_mark_write_and_submit(site: Site, sockets: Sockets, browser: Any) -> None:
    url = site.serve_read(fiducials(), capture=sockets.capture)

    with open_page(browser, url) as (page, console):
        shown(page)
        a = latest(sockets, page)["a"]
        assert page.inner_text("#indicator-text") == "Recording"
        assert page.is_disabled("#submit")
        assert "Pneumothorax, Lung Lesion and 3 more" in page.inner_text("#missing")
        page.keyboard.press("1")
        page.keyboard.press("j")
        page.keyboard.press("b")
        page.mouse.move(300, 200)
        page.mouse.down()
        page.mouse.move(400, 280, steps=3)
        page.mouse.up()
        page.select_option("select[aria-label='Confidence of Box 1']", "4")
        page.mouse.click(600, 600)
        page.keyboard.press("p")
        page.mouse.click(500, 300)
        page.keyboard.press("Delete")
        for key in "5j2j3j1":
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.keyboard.type("Nodule on the right. No effusion.", delay=3)
        assert page.inner_text("#sentence-count") == "2 sentences"
        assert page.inner_text("#missing") == "Every finding is rated."
        page.keyboard.press("Escape")
        states = sockets.log.stored["states"]
        page.click("#submit")
        page.wait_for_url("**/next/")

    body = next(body for path, body in site.posted if path.endswith("/submit/"))
    assert body["responses"] == [
        {"finding": finding, "confidence": confidence}
        for finding, confidence in zip(FINDINGS, [1, 5, 2, 3, 1], strict=True)
    ]
    (mark,) = body["marks"]
    wanted = [(300 - a[4]) / a[0], (200 - a[5]) / a[3], (400 - a[4]) / a[0], (280 - a[5]) / a[3]]
    assert mark == {"finding": "Lung Lesion", "shape": "box", "points": pytest.approx(wanted), "confidence": 4}
    assert [s["text"] for s in body["report"]["sentences"]] == ["Nodule on the right.", "No effusion."]
    first, second = body["report"]["sentences"]
    assert states[0]["t"] < first["start"] < first["end"] < second["start"] < second["end"] < body["t"]
    events = site.events()
    assert body["last_event"] == events[-1]["seq"] == len(events) - 1
    kinds = [event["kind"] for event in events]
    assert {"image_shown", "recording_started", "mark_added", "mark_removed", "finding_rated"} <= set(kinds)
    assert "recording_incomplete" not in kinds
    assert sockets.station.calls == ["start", "stop"]
    assert sockets.station.stimuli[-1] == {"kind": "blank"}
    assert console == []


def test_the_stimulus_is_the_matrix_to_screen_pixels(site: Site, sockets: Sockets, browser: Any) -> None:
    with open_page(browser, site.serve_read(fiducials(), capture=sockets.capture)) as (page, _):
        shown(page)
        page.mouse.move(300, 300)
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(400)
        state = latest(sockets, page)
        wait_until(lambda: sockets.station.stimuli[-1].get("seq") == state["seq"], "the last stimulus")
        told = sockets.station.stimuli[-1]

    a, dpr = state["a"], state["dpr"]
    wanted = [a[0] * dpr, a[1] * dpr, a[2] * dpr, a[3] * dpr]
    wanted += [(a[4] + state["screenX"]) * dpr, (a[5] + state["screenY"]) * dpr]
    assert told == {
        "kind": "viewport",
        "seq": state["seq"],
        "a": pytest.approx(wanted),
        "rows": 1024,
        "columns": 1024,
    }


def test_a_submission_the_server_refuses_can_be_sent_again(site: Site, browser: Any) -> None:
    url = site.serve_read(fiducials(), findings=["Pneumothorax"])
    site.answers["/read/1/submit/"] = lambda body: (409, {"error": "This read was already submitted."})

    with open_page(browser, url) as (page, _):
        shown(page)
        page.keyboard.press("3")
        page.keyboard.press("Control+Enter")
        wait_until(lambda: "already submitted" in page.inner_text("#missing"), "the server's sentence")
        site.answers["/read/1/submit/"] = lambda body: (200, {"next": "/next/"})
        page.click("#submit")
        page.wait_for_url("**/next/")


@pytest.mark.parametrize("status", [400, 409, 503])
def test_a_refused_submission_goes_on_recording_until_the_next(
    status: int, site: Site, sockets: Sockets, browser: Any
) -> None:
    url = site.serve_read(fiducials(), capture=sockets.capture, findings=["Pneumothorax"])
    site.answers["/read/1/submit/"] = lambda body: (status, {"error": "One finding is not rated."})

    with open_page(browser, url) as (page, _):
        shown(page)
        page.keyboard.press("3")
        page.keyboard.press("Control+Enter")
        wait_until(lambda: "not rated" in page.inner_text("#missing"), "the server's sentence")
        wait_until(lambda: sockets.station.calls == ["start", "stop", "start"], "the second start")
        wait_until(lambda: page.inner_text("#indicator-text") == "Recording", "the indicator")
        # The eye of a simulated reader sees the image again; the page shows "Recording" before the agent has that.
        wait_until(lambda: sockets.station.stimuli[-1]["kind"] == "viewport", "the viewport told to the agent")
        before = len(sockets.log.stored["states"])
        page.keyboard.press("i")
        wait_until(lambda: len(sockets.log.stored["states"]) > before, "a state of the second epoch")
        site.answers["/read/1/submit/"] = lambda body: (200, {"next": "/next/"})
        page.click("#submit")
        page.wait_for_url("**/next/")
    assert sockets.station.calls == ["start", "stop", "start", "stop"]
    kinds = [event["kind"] for event in site.events()]
    assert kinds.count("recording_started") == 2
    assert "recording_incomplete" not in kinds and "recording_lost" not in kinds


def test_a_submission_right_after_a_refused_one_leaves_no_recording_running(
    site: Site, sockets: Sockets, browser: Any
) -> None:
    url = site.serve_read(fiducials(), capture=sockets.capture, findings=["Pneumothorax"])
    site.answers["/read/1/submit/"] = lambda body: (400, {"error": "One finding is not rated."})

    with open_page(browser, url) as (page, _):
        shown(page)
        page.keyboard.press("3")
        sockets.station.start_takes_s = 0.5
        page.keyboard.press("Control+Enter")
        wait_until(lambda: "not rated" in page.inner_text("#missing"), "the server's sentence")
        site.answers["/read/1/submit/"] = lambda body: (200, {"next": "/next/"})
        page.click("#submit")
        page.wait_for_url("**/next/")
    assert sockets.station.calls == ["start", "stop", "start", "stop"]
    assert not sockets.station.recording


def test_a_read_that_must_be_recorded_shows_nothing_without_the_agent(
    site: Site, sockets: Sockets, browser: Any
) -> None:
    capture = {**sockets.capture, "agent": "ws://127.0.0.1:9/"}

    with open_page(browser, site.serve_read(fiducials(), capture=capture)) as (page, _):
        wait_until(lambda: "start gazeroom-agent" in page.inner_text("#curtain-text"), "the sentence")
        assert page.inner_text("#indicator-text") == "Not recording"
        assert page.get_attribute("#stage", "data-seq") is None
        assert page.is_visible("#curtain-retry")


def test_a_read_that_must_be_recorded_opens_as_soon_as_the_tracker_is_on(
    site: Site, sockets: Sockets, browser: Any
) -> None:
    sockets.station.tracker = False

    with open_page(browser, site.serve_read(fiducials(), capture=sockets.capture)) as (page, _):
        wait_until(lambda: "switch the eye tracker on" in page.inner_text("#curtain-text"), "the agent's sentence")
        assert page.get_attribute("#stage", "data-seq") is None
        page.wait_for_timeout(400)
        sockets.station.tracker = True
        shown(page)
        assert page.inner_text("#indicator-text") == "Recording"
        assert page.is_hidden("#curtain")


def test_a_magnified_page_refuses_to_record(site: Site, sockets: Sockets, browser: Any) -> None:
    url = site.serve_read(fiducials(), capture={**sockets.capture, "required": False})
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script("Object.defineProperty(visualViewport, 'scale', { value: 1.5 })")
    page.goto(url)
    try:
        wait_until(lambda: "magnified 1.50 times" in page.inner_text("#indicator-note"), "the refusal")
        assert sockets.station.calls == []
    finally:
        context.close()


def test_a_missing_image_is_one_sentence(site: Site, browser: Any) -> None:
    url = site.serve_read(fiducials())
    site.pages["/read/1/frame/1/"] = ("application/octet-stream", b"short")

    with open_page(browser, url) as (page, _):
        wait_until(lambda: "5 bytes" in page.inner_text("#curtain-text"), "the sentence")
        assert page.is_disabled("#submit")


def evidence() -> dict[str, Any]:
    return {
        "schema": "gazeroom.evidence/1",
        "model_sha256": "0" * 64,
        "prompt_version": "1",
        "rows": 1024,
        "columns": 1024,
        "report": [
            {
                "sentence": "A nodule.",
                "finding": "Lung Lesion",
                "side": "left",
                "box": [600, 500, 760, 640],
                "verified": True,
            },
            {
                "sentence": "An effusion.",
                "finding": "Pleural Effusion",
                "side": "",
                "box": [100, 700, 300, 900],
                "verified": False,
            },
            {"sentence": "No pneumothorax.", "finding": None, "side": "", "box": None, "verified": True},
        ],
        "findings": [{"finding": "Lung Lesion", "probability": 0.812}],
        "trajectory": [{"x": 100 + 10 * i, "y": 500, "duration_ms": 150} for i in range(80)],
    }


def test_assistance_is_labelled_linked_and_played_in_a_window_of_time(site: Site, browser: Any) -> None:
    url = site.serve_read(fiducials(), evidence=evidence(), caveats=["knows phantoms only"])
    with open_page(browser, url) as (page, console):
        shown(page)
        page.wait_for_selector("#gazex h2")
        assert page.inner_text("#gazex h2") == "GazeX — AI output"
        assert page.inner_text(".ai-caveat") == "knows phantoms only"
        assert [
            bool(tag)
            for tag in page.eval_on_selector_all(
                ".ai-report li", "e => e.map(i => i.querySelector('.unverified-tag') !== null)"
            )
        ] == [False, True, False]
        assert page.inner_text(".ai-probability") == "81 %"
        page.hover(".ai-sentence.linked")
        lit = page.locator(".ai-box.lit").bounding_box()
        still = page.locator("#gazex").bounding_box()
        page.keyboard.press("t")
        counts = []
        for _ in range(6):
            page.wait_for_timeout(100)
            counts.append(page.locator(".trail-dot").count())
        assert page.inner_text(".ai-clock").endswith(" s")
        assert page.locator("#gazex").bounding_box() == still, "the clock moved the panel"
        page.keyboard.press("t")
        assert page.inner_text(".ai-tools button:nth-child(2) span") == "Play inspection"
        page.keyboard.press("a")
        assert not page.locator(".ai-box").first.is_visible()
        wait_until(lambda: "assistance_boxes" in [event["kind"] for event in site.events()], "the events")

    # 1024 rows on 800 px, centred in 920 px.
    k = 800 / 1024
    assert lit["x"] == pytest.approx(60 + 600.5 * k, abs=3) and lit["y"] == pytest.approx(500.5 * k, abs=3)
    assert lit["width"] == pytest.approx(160 * k, abs=5)
    assert 1 <= max(counts) <= 9, "the inspection shows a window of time, never everything"
    kinds = [event["kind"] for event in site.events()]
    assert kinds.index("image_shown") < kinds.index("assistance_shown")
    assert {"trajectory_played", "trajectory_paused"} <= set(kinds)
    assert console == []


@pytest.mark.parametrize("height", [800, 620])
@pytest.mark.parametrize("assisted", [False, True])
def test_the_image_has_the_same_place_with_and_without_assistance(
    site: Site, sockets: Sockets, browser: Any, assisted: bool, height: int
) -> None:
    """A blind comparison's replays and exports tell where the image was; that must not tell the arm."""
    url = site.serve_read(fiducials(), evidence=evidence() if assisted else None, capture=sockets.capture)
    with open_page(browser, url, height=height) as (page, _):
        shown(page)
        if assisted:
            page.wait_for_selector(".ai-report li")
        assert page.is_visible("#gazex") == assisted
        assert page.locator("#image").bounding_box() == {"x": 0, "y": 0, "width": 920, "height": height}
        assert latest(sockets, page)["rect"] == [0, 0, 920, height]


def test_the_page_says_where_the_assistance_is_seen_and_when_it_has_moved(site: Site, browser: Any) -> None:
    def places() -> list[list[float]]:
        return [e["payload"]["rect"] for e in site.events() if e["kind"] == "assistance_placed"]

    with open_page(browser, site.serve_read(fiducials(), evidence=evidence())) as (page, _):
        shown(page)
        page.wait_for_selector("#gazex h2")
        wait_until(lambda: places(), "the first place")
        box = page.locator("#gazex").bounding_box()
        scroller = page.locator(".panel .scroll").bounding_box()
        seen = min(box["y"] + box["height"], scroller["y"] + scroller["height"]) - box["y"]
        assert places()[0] == pytest.approx([box["x"], box["y"], box["width"], seen], abs=0.2)
        page.eval_on_selector(".panel .scroll", "e => { e.style.maxHeight = '120px'; e.scrollTop = 60; }")
        wait_until(lambda: len(places()) > 1 and places()[-1][3] < seen, "the place after scrolling")
        scroller = page.locator(".panel .scroll").bounding_box()
        _, top, _, height = places()[-1]
        assert top >= scroller["y"] - 0.2 and top + height <= scroller["y"] + scroller["height"] + 0.2
        page.eval_on_selector(".panel .scroll", "e => { e.scrollTop = 100000; }")
        wait_until(lambda: places()[-1][3] == 0, "the panel out of sight")
    kinds = [event["kind"] for event in site.events()]
    assert kinds.index("assistance_shown") < kinds.index("assistance_placed")


def test_assistance_that_the_server_withholds_is_one_sentence(site: Site, browser: Any) -> None:
    url = site.serve_read(fiducials(), evidence=evidence())
    del site.pages["/read/1/assistance/"]

    with open_page(browser, url) as (page, _):
        shown(page)
        page.wait_for_selector("#gazex-error:not([hidden])")
        assert page.inner_text("#gazex-error") == "GazeX's output cannot be shown. There is nothing here."
        assert page.is_hidden("#gazex")


def serve_replay(site: Site, track: dict[str, Any]) -> str:
    config = {
        "frameUrl": "/frame/",
        "rows": 1024,
        "columns": 1024,
        "rowSpacing": 0.2,
        "columnSpacing": 0.2,
        "max": 4095,
        "invert": False,
        "voi": [{"type": "window", "center": 2048, "width": 4096, "function": "LINEAR"}],
        "trackUrl": "/track/",
    }
    page = f"""<!doctype html><title>Replay</title><link rel="icon" href="data:,">
        <link rel="stylesheet" href="/static/study/viewer/replay.css">
        <div id="replay" data-config="replay-config"></div>
        <script id="replay-config" type="application/json">{json.dumps(config)}</script>
        <script type="module" src="/static/study/viewer/replay.js"></script>"""
    site.pages["/replay/"] = ("text/html; charset=utf-8", page.encode())
    site.pages["/frame/"] = ("application/octet-stream", fiducials().astype("<u2").tobytes())
    site.pages["/track/"] = ("application/json", json.dumps(track).encode())
    return f"{site.url}/replay/"


def recorded() -> dict[str, Any]:
    t = np.arange(0, 4, 0.01)
    x = np.where(t < 2, 100, 512)
    y = np.where(t < 2, 90, 300)
    return {
        "t": t.tolist(),
        "x": [None if 1 < s < 1.5 else float(v) for s, v in zip(t, x, strict=True)],
        "y": [None if 1 < s < 1.5 else float(v) for s, v in zip(t, y, strict=True)],
        "fixations": [
            {"x": 100, "y": 90, "onset": 0.0, "duration": 0.9},
            {"x": 512, "y": 300, "onset": 2.0, "duration": 1.9},
        ],
        "states": [
            {
                "t": 0.0,
                "a": [0.78125, 0, 0, 0.78125, 60, 0],
                "rect": [0, 0, 920, 800],
                "view": {"wc": 2048, "ww": 4096, "invert": False},
            },
            {
                "t": 2.0,
                "a": [4, 0, 0, 4, -1588, -800],
                "rect": [0, 0, 920, 800],
                "view": {"wc": 2048, "ww": 4096, "invert": False},
            },
        ],
        "sentences": [{"text": "A nodule.", "start": 2.2, "end": 3.0}],
        "duration": 4.0,
    }


def seek(page: Any, seconds: float) -> None:
    page.eval_on_selector(
        "#replay input[type=range]", "(e, t) => { e.value = t; e.dispatchEvent(new Event('input')); }", seconds
    )
    # The first animation frame draws, the second comes after it.
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def test_replay_shows_gaze_and_image_as_the_reader_saw_them(site: Site, browser: Any) -> None:
    with open_page(browser, serve_replay(site, recorded())) as (page, console):
        page.wait_for_selector("#replay[data-ready]")
        canvas = page.locator("#replay canvas").bounding_box()
        seek(page, 0.5)
        whole = page.locator(".replay-eye").bounding_box()
        seek(page, 1.3)
        lost = page.locator(".replay-eye").count()
        seek(page, 2.5)
        zoomed = page.locator(".replay-eye").bounding_box()
        caption = page.inner_text(".replay-caption")
        picture = screenshot(page)
        page.click("text=Play")
        wait_until(lambda: float(page.get_attribute("#replay", "data-position")) > 2.6, "the replay's progress")

    # The recorded 920 × 800 region as large as it fits, its middle in the middle.
    factor = min(canvas["width"] / 920, canvas["height"] / 800)
    middle_x, middle_y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2

    def on_page(css_x: float, css_y: float) -> tuple[float, float]:
        return middle_x + (css_x - 460) * factor, middle_y + (css_y - 400) * factor

    for found, wanted in [(whole, on_page(60 + 78.125, 70.3)), (zoomed, on_page(460, 400))]:
        assert found["x"] + found["width"] / 2 == pytest.approx(wanted[0], abs=1)
        assert found["y"] + found["height"] / 2 == pytest.approx(wanted[1], abs=1)
    assert lost == 0, "where the eye was not seen nothing is drawn"
    # The zoomed square of 36 recorded px lies under the gaze point.
    assert picture[round(middle_y) - 10, round(middle_x) - 10] > 200
    assert picture[round(middle_y) - 40, round(middle_x) - 40] < 60
    assert caption == "A nodule."
    assert console == []


def test_a_broken_track_is_one_sentence(site: Site, browser: Any) -> None:
    with open_page(browser, serve_replay(site, {**recorded(), "x": [1.0]})) as (page, _):
        page.wait_for_selector("#replay [role=alert]")
        assert "400 times and 1 positions" in page.inner_text("#replay")


def test_a_mark_is_moved_by_its_outline_and_resized_by_its_corner(site: Site, browser: Any) -> None:
    url = site.serve_read(fiducials())

    def drag(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=3)
        page.mouse.up()

    with open_page(browser, url) as (page, _):
        shown(page)
        page.keyboard.press("b")
        drag(page, (300, 200), (400, 280))
        drag(page, (350, 200), (380, 240))
        drag(page, (430, 320), (460, 300))
        wait_until(lambda: len([e for e in site.events() if e["kind"].startswith("mark_")]) == 3, "three events")

    drawn, moved, resized = (e["payload"]["points"] for e in site.events() if e["kind"].startswith("mark_"))
    k = 1024 / 800
    assert np.subtract(moved, drawn) == pytest.approx([30 * k, 40 * k, 30 * k, 40 * k])
    assert np.subtract(resized, moved) == pytest.approx([0, 0, 30 * k, -20 * k])


def test_the_assisted_reading_room_has_no_accessibility_violations(site: Site, browser: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with open_page(browser, site.serve_read(fiducials(), evidence=evidence())) as (page, _):
        shown(page)
        page.wait_for_selector("#gazex h2")
        page.keyboard.press("p")
        page.mouse.click(400, 400)
        violations = Axe().run(page).response["violations"]

    assert [(violation["id"], violation["nodes"][0]["html"]) for violation in violations] == []
