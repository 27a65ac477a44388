"""The station's pages in a real Chromium, on headless displays, before a tracker that sees the true point.

The tracker knows nothing of what the page tells the agent: it reads the point's place in the page's layout, and the
page's place on the display from the window the browser was started with. Where both agree, gaze is 0° off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.http import HttpRequest
from django.test import Client
from playwright.sync_api import Playwright, expect

from capture.agent.pagesocket import PageSocket
from capture.models import Calibration, DriftCheck, Station
from capture.services import stations
from capture.services.calibrations import calibrate
from study.models import Enrolment, ProtocolVersion, Read
from study.services import reading, studies
from study.site.headers import HEADERS
from tests.browser import FLAGS, chromium_path, playwright_driver  # noqa: F401 - a fixture
from tests.factories import make_answers, make_study

pytestmark = pytest.mark.django_db(transaction=True)

Xy = tuple[float, float]
RATE = 120.0
#: The points are shown for a tenth of the time: the eye here needs none. What the page waits longer for, it waits for.
HURRY = "const s = setTimeout; window.setTimeout = (f, ms, ...a) => s(f, ms < 2000 ? ms / 10 : ms, ...a);"
NO_FULL_SCREEN = "Object.defineProperty(document, 'fullscreenEnabled', {value: false});"
TARGET = """() => {
  const box = document.querySelector("#target").getBoundingClientRect();
  return {
    x: box.left + box.width / 2, y: box.top + box.height / 2,
    css: [innerWidth, innerHeight], ratio: devicePixelRatio, full: document.fullscreenElement !== null,
  };
}"""


@dataclass
class Display:
    """A display of the desktop: its pixels, how many make a unit of the desktop, and where it begins there (units)."""

    width_px: int
    height_px: int
    ratio: float = 1.0
    left: float = 0.0

    def to_dict(self) -> dict[str, float]:
        return {
            "width_px": self.width_px,
            "height_px": self.height_px,
            "width_mm": 0.27 * self.width_px,
            "height_mm": 0.27 * self.height_px,
            "distance_mm": 650.0,
        }


@dataclass
class Tracker:
    """What the agent's page socket asks of the agent. The eye rests where `look` says, and `error` beside it."""

    number: str
    display: Display
    stimuli: list[dict[str, Any]] = field(default_factory=list)
    #: Collections asked for by the page: the main thread, which drives the browser, answers where the point is.
    asked: queue.Queue[asyncio.Future[Xy]] = field(default_factory=queue.Queue)
    #: Which collections (0, 1, …) see gaze beside the point, and how far: shares of the display.
    error: Callable[[int], Xy] = lambda number: (0.0, 0.0)
    collections: int = 0

    def clock(self) -> float:
        return time.monotonic()

    def welcome(self) -> dict[str, Any]:
        tracker = {"found": True, "name": "the eye that sees the screen", "serial": "1", "rate_hz": RATE}
        return {"tracker": tracker, "display": self.display.to_dict(), "recording": False}

    def status(self) -> dict[str, Any]:
        return {"recording": False, "tracker": True, "pending_frames": 0, "uploaded": 0}

    def stimulus(self, stimulus: dict[str, Any]) -> None:
        self.stimuli.append(stimulus)

    async def collect(self, seconds: float) -> dict[str, Any]:
        began = self.clock()
        answer: asyncio.Future[Xy] = asyncio.get_running_loop().create_future()
        self.asked.put(answer)
        x, y = await answer
        dx, dy = self.error(self.collections)
        self.collections += 1
        count = round(seconds * RATE)
        seen = [[x + dx, y + dy]] * count
        times = [began + n / RATE for n in range(count)]
        return {"t": times, "left": seen, "right": seen, "valid_left": [True] * count, "valid_right": [True] * count}

    async def calibrate(self, step: str, x: float, y: float) -> dict[str, Any]:
        raise AssertionError("the page asks for the tracker maker's own calibration")

    async def start(self, recording: str, token: str, socket: str) -> dict[str, Any]:
        return {"recording": recording, "epoch": "6f6f39a5-0000-4000-8000-000000000001"}

    async def stop(self) -> dict[str, Any]:
        return {"recording": "", "last_sequence": 0, "frames": 0, "samples": 0}


class Agent:
    """The agent's page socket in a loop of its own, which keeps its port when it is started again."""

    def __init__(self, tracker: Tracker, key: str, origin: str) -> None:
        self._make = lambda port: PageSocket(tracker, port=port, key=key, origins=[origin])
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def start(self) -> None:
        self._socket = self._make(self.port)
        asyncio.run_coroutine_threadsafe(self._socket.start(), self.loop).result(10)
        self.port = self._socket.port

    def stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._socket.close(), self.loop).result(5)

    def end(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


class Room:
    """One reader before one display: the site, the agent's socket, the browser's window."""

    def __init__(self, page: Any, tracker: Tracker, agent: Agent) -> None:
        self.page, self.tracker, self.agent = page, tracker, agent

    def on_display(self) -> Xy:
        """Where the middle of the point is, as a share of the display, by layout and window alone."""
        seen = self.page.evaluate(TARGET)
        display = self.tracker.display
        if seen["full"] or self.page.viewport_size is not None:
            x, y = 0.0, 0.0
        else:
            bounds = self.page.context.new_cdp_session(self.page).send("Browser.getWindowForTarget")["bounds"]
            # A headless window has its bars above the page and no frame.
            zoom = seen["ratio"] / display.ratio
            x = (bounds["left"] - display.left) * display.ratio
            y = (bounds["top"] + bounds["height"] - seen["css"][1] * zoom) * display.ratio
        return (x + seen["x"] * seen["ratio"]) / display.width_px, (y + seen["y"] * seen["ratio"]) / display.height_px

    def watch(self, until: Callable[[], bool], what: str) -> None:
        """Answer the tracker's questions until the page has come so far."""
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, f"{what} did not happen"
            with contextlib.suppress(queue.Empty):
                asked = self.tracker.asked.get_nowait()
                self.agent.loop.call_soon_threadsafe(asked.set_result, self.on_display())
            self.page.wait_for_timeout(10)

    def press(self, name: str, verdict: str = "") -> str:
        """Press a button that measures; the verdict's sentence once there is one that contains `verdict`."""
        self.page.get_by_role("button", name=name).click()
        self.watch(lambda: not self.page.locator("#stage").is_hidden(), "the stage")
        self.watch(lambda: self.page.locator("#stage").is_hidden(), "the end of the measurement")
        sentence = self.page.locator("#sentence")
        expect(sentence).to_contain_text(verdict)
        return str(sentence.text_content())


@dataclass
class Furnished:
    """Makes rooms: a browser and an agent each."""

    playwright: Playwright
    site: Any
    folder: Path
    enrolment: Enrolment
    settings: Any
    stack: contextlib.ExitStack

    def room(
        self, display: Display, *, window: str = "", others: str = "", viewport: Any = None, zoom: float = 1.0
    ) -> Room:
        paired = stations.pair_here(name=Station.THIS_MACHINE, server=self.site.url, spool=self.folder / "spool")
        tracker = Tracker(str(paired.station), display)
        agent = Agent(tracker, paired.key, self.site.url)
        self.stack.callback(agent.end)
        self.settings.GAZEROOM_AGENT_URL = f"ws://127.0.0.1:{agent.port}/"
        profile = self.folder / "profile"
        (profile / "Default").mkdir(parents=True)
        level = {"partition": {"default_zoom_level": {"x": math.log(zoom) / math.log(1.2)}}}
        (profile / "Default" / "Preferences").write_text(json.dumps(level))
        path = chromium_path()
        if path is None:
            pytest.skip("no Chromium found: install it (apt install chromium) or set CHROMIUM to its path")
        screens = f"--screen-info={others}{{{display.width_px}x{display.height_px} devicePixelRatio={display.ratio}}}"
        shape = {"no_viewport": True} if viewport is None else viewport
        context = self.playwright.chromium.launch_persistent_context(
            profile, executable_path=path, headless=True, args=[*FLAGS, screens, *window.split()], **shape
        )
        self.stack.callback(context.close)
        client = Client()
        client.force_login(self.enrolment.user)
        cookie = client.cookies[self.settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": self.settings.SESSION_COOKIE_NAME, "value": cookie, "url": self.site.url}])
        context.add_init_script(HURRY + ("" if viewport else NO_FULL_SCREEN))
        page = context.pages[0]
        page.set_default_timeout(20_000)
        return Room(page, tracker, agent)


@pytest.fixture(autouse=True, scope="module")
def _database_beside_the_browser() -> Iterator[None]:
    """The browser's driver runs an event loop in this thread, which Django takes for an asynchronous view."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def _headers_on_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the site sends them: the test server's own file view leaves them out, and a worker without is refused."""
    serve = StaticFilesHandler.serve

    def with_headers(self: StaticFilesHandler, request: HttpRequest) -> Any:
        response = serve(self, request)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    monkeypatch.setattr(StaticFilesHandler, "serve", with_headers)


@pytest.fixture
def furnished(
    _headers_on_files: None,
    playwright_driver: Playwright,  # noqa: F811
    live_server: Any,
    tmp_path: Path,
    settings: Any,
) -> Iterator[Callable[..., Furnished]]:
    with contextlib.ExitStack() as stack:

        def furnish(points: int = 5, **rules: Any) -> Furnished:
            study = make_study(gaze="required", consented=True, cases=3, opened=False)
            protocol = ProtocolVersion.objects.get(study=study)
            limits = {"max_accuracy_deg": 1.5, "max_data_loss": 0.3, "points": points, **rules}
            protocol.body = {**protocol.body, "calibration": limits}
            protocol.save()
            studies.open_study(study=study, actor=study.created_by)
            return Furnished(playwright_driver, live_server, tmp_path, study.enrolments.get(), settings, stack)

        yield furnish


def station_check(place: Furnished, room: Room) -> None:
    room.page.goto(f"{place.site.url}/capture/station/?enrolment={place.enrolment.pk}")
    try:
        expect(room.page.locator("#start")).to_be_enabled()
    except AssertionError as error:
        raise AssertionError(
            f"The station is not ready: {room.page.locator('[data-check]').all_inner_texts()}"
        ) from error


WINDOW = "--window-position=50,20 --window-size=1800,1150"


SECOND = {"window": "--window-position=1330,20 --window-size=1800,1150", "others": "{1280x800}"}
#: Headless, only an emulated display is covered by full screen.
SIZE = {"width": 1280, "height": 800}
FULL = {"viewport": {"viewport": SIZE, "screen": SIZE, "device_scale_factor": 1.5}}


@pytest.mark.parametrize(
    ("points", "display", "options"),
    [
        (5, Display(1920, 1200), {"window": WINDOW}),
        (9, Display(2880, 1800, 1.5, 1280), SECOND),
        (5, Display(3840, 2400, 2.0), {"window": WINDOW, "zoom": 1.25}),
        (9, Display(1920, 1200, 1.5), FULL),
    ],
    ids=["a window", "a window on the second display at 1.5", "a zoomed window at 2", "full screen at 1.5"],
)
def test_gaze_on_the_points_as_they_truly_lie_on_the_display_is_not_off_at_all(
    furnished: Any, points: int, display: Display, options: dict[str, Any]
) -> None:
    place = furnished(points)
    room = place.room(display, **options)
    station_check(place, room)
    room.press("Start calibration", "the station is ready")
    stored = Calibration.objects.get()
    assert stored.passed and len(stored.samples["calibration"]) == points
    # A pixel here is 0.024°. The correction would hide an error that all points share: look at what was seen.
    for kind in ("calibration", "validation"):
        for point in stored.samples[kind]:
            x, y = point["left"][0]
            assert abs(x - point["x"]) * display.width_px < 1.5
            assert abs(y - point["y"]) * display.height_px < 1.5
    assert stored.accuracy_deg is not None and stored.accuracy_deg < 0.05
    # The simulated eye of the demo hears the same places.
    told = [(s["x"], s["y"]) for s in room.tracker.stimuli if s["kind"] == "target"]
    assert told == [(p["x"], p["y"]) for kind in ("calibration", "validation") for p in stored.samples[kind]]


def test_the_page_finds_an_agent_that_is_started_after_it_without_being_asked(furnished: Any) -> None:
    place = furnished(5)
    room = place.room(Display(1920, 1200), window=WINDOW)
    room.agent.stop()
    room.page.goto(f"{place.site.url}/capture/station/?enrolment={place.enrolment.pk}")
    expect(room.page.locator("[data-check=agent]")).to_contain_text("start gazeroom-agent")
    expect(room.page.locator("#start")).to_be_disabled()
    room.agent.start()
    expect(room.page.locator("#start")).to_be_enabled()
    expect(room.page.locator("#reconnect")).to_be_hidden()


def test_a_failed_calibration_names_the_remedy_and_its_bad_point_is_measured_again_alone(furnished: Any) -> None:
    place = furnished(5)
    room = place.room(Display(1920, 1200), window=WINDOW)
    station_check(place, room)
    room.tracker.error = lambda number: (0.25, 0.0) if number == 8 else (0.0, 0.0)
    sentence = room.press("Start calibration", "1.50° or better is asked for")
    assert "calibrate again" in sentence
    expect(room.page.locator("#continue")).to_be_hidden()
    expect(room.page.locator("#points tbody tr", has=room.page.locator("td.over"))).to_have_count(1)
    room.press("Measure the bad point again", "the station is ready")
    assert room.tracker.collections == 11
    first, second = Calibration.objects.order_by("created_at")
    assert not first.passed and second.passed and second.repeats == first
    assert second.retaken == {"calibration": [], "validation": [[0.7, 0.75]]}
    room.page.locator("#continue").click()
    room.page.wait_for_url(re.compile("/read/"))
    assert Read.objects.get().state == Read.State.OPEN


def test_a_drift_check_that_passes_opens_the_case_and_one_that_fails_leads_to_calibration(furnished: Any) -> None:
    place = furnished(5, drift_every_cases=1, max_drift_deg=1.0)
    enrolment, display = place.enrolment, Display(1920, 1200)
    room = place.room(display, window=WINDOW)
    calibrate(
        user=enrolment.user,
        station=Station.objects.get(),
        enrolment=enrolment,
        measured=exact(display),
    )
    before = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    reading.submit(read=before, answers=make_answers(before), actor=enrolment.user)
    # The page that finds the agent tells the site which station this is.
    station_check(place, room)
    room.page.goto(f"{place.site.url}/worklist/")
    room.page.locator("form[action$='/next/'] button").click()
    room.page.wait_for_url(re.compile("/capture/drift/"))
    expect(room.page.locator("#start")).to_be_enabled()
    room.tracker.error = lambda number: (0.1, 0.0) if number == 0 else (0.0, 0.0)
    assert "calibrate again" in room.press("Check now", "at most 1.00° may be")
    expect(room.page.get_by_role("link", name="Calibrate again")).to_have_attribute(
        "href", re.compile(r"^/capture/station/\?.*enrolment=")
    )
    room.page.get_by_role("button", name="Look again").click()
    room.watch(lambda: "/read/" in room.page.url, "the next case")
    failed, passed = DriftCheck.objects.order_by("created_at")
    assert not failed.passed
    assert passed.passed and passed.drift_deg is not None and passed.drift_deg < 0.05
    assert Read.objects.filter(state=Read.State.OPEN).count() == 1


def exact(display: Display) -> dict[str, Any]:
    """What this eye measures on this display."""
    from capture.gaze.calibration import FIVE_POINTS, VALIDATION_POINTS

    def seen(points: Any) -> list[dict[str, Any]]:
        return [
            {
                "x": x, "y": y, "shown": 99.0, "t": [100 + n / RATE for n in range(80)],
                "left": [[x, y]] * 80, "right": [[x, y]] * 80, "valid_left": [True] * 80, "valid_right": [True] * 80,
            }
            for x, y in points
        ]  # fmt: skip

    return {
        "display": display.to_dict(),
        "tracker": {"found": True, "name": "the eye that sees the screen"},
        "calibration": seen(FIVE_POINTS),
        "validation": seen(VALIDATION_POINTS),
    }
