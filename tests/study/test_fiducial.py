"""What is seen on the screen is found in the image: real browser, real viewer, Python's mapping through the log."""

# ruff: noqa: F811 - pytest hands fixtures over by the names that were imported

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates, to_image
from tests.browser import launch, playwright_driver  # noqa: F401 - fixture
from tests.study.test_viewer import recorded, seek, serve_replay, site, sockets  # noqa: F401 - fixtures
from tests.study.viewer_harness import DISPLAY, Site, Sockets, open_page, shown, wait_until

Floats = NDArray[np.float64]

ROWS, COLUMNS = 1000, 1200
#: Standard deviation of a blob in image px: at the smallest view it is still 3 screen px wide.
SIGMA = 7.0
VIEWS = 4


def blobs(rng: np.random.Generator) -> Floats:
    """Centres (x, y) of one blob in each field of 100 px, anywhere between the pixels."""
    y, x = np.mgrid[50:ROWS:100, 50:COLUMNS:100]
    return np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-15, 15, (x.size, 2))


def painted(centres: Floats) -> NDArray[np.uint16]:
    """A dark image with a bright Gaussian blob at each centre; their peaks stay below white."""
    x, y = np.arange(COLUMNS), np.arange(ROWS)
    along = np.exp(-((x - centres[:, :1]) ** 2) / (2 * SIGMA**2))
    down = np.exp(-((y - centres[:, 1:]) ** 2) / (2 * SIGMA**2))
    return np.asarray(200 + 3600 * np.einsum("ny,nx->yx", down, along), dtype=np.uint16)


def found_in(picture: Floats, near: tuple[float, float], reach: float) -> tuple[float, float] | None:
    """The centroid of the blob near a screenshot px, in continuous device px (a pixel's middle is at + 0.5)."""
    u, v = near
    for _ in range(3):
        x0, x1, y0, y1 = (round(e) for e in (u - reach, u + reach, v - reach, v + reach))
        if x0 < 0 or y0 < 0 or x1 > picture.shape[1] or y1 > picture.shape[0]:
            return None
        weight = picture[y0:y1, x0:x1] - np.median(picture[y0:y1, x0:x1])
        weight = np.maximum(weight - 0.2 * weight.max(), 0.0)
        rows, columns = np.indices(weight.shape)
        u = x0 + float((columns * weight).sum() / weight.sum()) + 0.5
        v = y0 + float((rows * weight).sum() / weight.sum()) + 0.5
    return u, v


def move(page: Any, dice: random.Random) -> None:
    """One random view, by the means a reader has: wheel, drag, keys."""
    x, y = dice.uniform(120, 350), dice.uniform(120, 350)
    page.mouse.move(x, y)
    page.keyboard.press("f")
    if dice.random() < 0.6:
        page.keyboard.press("h")
    for _ in range(dice.randint(1, 7)):
        page.mouse.wheel(0, dice.uniform(-240, 40))
    page.mouse.down(button="middle")
    page.mouse.move(x + dice.uniform(-90, 90), y + dice.uniform(-70, 70), steps=2)
    page.mouse.up(button="middle")


def on_screen(page: Any, sockets: Sockets, after: int) -> dict[str, Any]:
    """The logged state of the frame on the screen, once nothing moves any more."""
    number = shown(page, after)
    still = wait_until(
        lambda: page.evaluate(
            "() => new Promise(r => { const n = document.getElementById('stage').dataset.seq;"
            " requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() =>"
            " r(n === document.getElementById('stage').dataset.seq ? Number(n) + 1 : 0)))); })"
        ),
        "a still view",
    )
    states = sockets.log.stored["states"]
    wait_until(lambda: len(states) >= still, f"state {number} in the log")
    return dict(states[still - 1])


@pytest.mark.parametrize(("dpr", "aspect"), [(1.0, 1.0), (1.25, 1.0), (1.5, 1.4), (2.0, 1.0)], ids=lambda v: f"{v:g}")
def test_a_fiducial_of_a_screenshot_maps_to_its_image_pixel_within_half_a_pixel(
    dpr: float, aspect: float, site: Site, sockets: Sockets, playwright_driver: Any
) -> None:
    centres = blobs(np.random.default_rng(int(100 * dpr)))
    dice = random.Random(f"views {dpr}")
    chromium = launch(playwright_driver, f"--force-device-scale-factor={dpr:g}", "--window-size=800,640")
    image = {"rowSpacing": 0.2 * aspect, "columnSpacing": 0.2}
    url = site.serve_read(painted(centres), capture={**sockets.capture, "required": False}, image=image)
    errors: list[float] = []
    zooms: list[float] = []
    flips: set[bool] = set()
    with open_page(chromium, url, width=0) as (page, console):
        number = shown(page)
        assert page.evaluate("devicePixelRatio") == dpr
        for view in range(VIEWS):
            if view:
                move(page, dice)
            state = on_screen(page, sockets, number - 1)
            number = state["seq"] + 1
            picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), np.float64)
            states = ViewportStates.from_records(
                [state], [0.0], rows=ROWS, columns=COLUMNS, display=Display.from_dict(DISPLAY)
            )
            corner = np.array([state["screenX"], state["screenY"]]) * dpr
            a, b, c, d, e, f = states.matrix[0]
            zoom = float(np.hypot(a, b))
            reach = 3 * SIGMA * zoom * max(1.0, aspect)
            left, top, width, height = states.rect[0]
            seen = 0
            for x, y in centres:
                u, v = a * x + c * y + e, b * x + d * y + f
                # The read-out stands over the image's lower left corner, the curtain and tools over nothing else.
                margin = reach + 2
                if not (
                    left + margin < u < left + width - margin and top + margin < v < top + height - 60 * dpr - margin
                ):
                    continue
                # Found where it is drawn, from a start that is wrong by some pixels.
                start = np.array([u, v]) - corner + [0.15 * reach, -0.1 * reach]
                spot = found_in(picture, (float(start[0]), float(start[1])), reach)
                if spot is None:
                    continue
                mapped = to_image([1.0], [np.array(spot) + corner], states)
                errors.append(float(np.hypot(*(mapped.image_xy[0] - (x, y)))))
                assert mapped.inside[0]
                seen += 1
            if seen:
                zooms.append(zoom)
                flips.add(bool(a < 0))
    chromium.close()
    assert console == []
    assert len(errors) > 20 and len(zooms) >= 3
    assert flips == {True, False}
    assert min(zooms) < 1 < max(zooms)
    assert max(errors) < 0.5


def test_a_read_that_was_mirrored_is_replayed_mirrored(site: Site, playwright_driver: Any) -> None:
    track = recorded()
    upright, mirrored = track["states"]
    # The same middle and size as before, left and right exchanged about the middle of the reader's window.
    mirrored["a"] = [-upright["a"][0], 0, 0, upright["a"][3], 920 - upright["a"][4], 0]
    track["x"] = [100.0] * len(track["t"])
    track["y"] = [90.0] * len(track["t"])
    browser = launch(playwright_driver)
    with open_page(browser, serve_replay(site, track)) as (page, console):
        page.wait_for_selector("#replay[data-ready]")
        canvas = page.locator("#replay canvas").bounding_box()
        middle = canvas["x"] + canvas["width"] / 2
        eyes, bright = [], []
        for seconds in (1.0, 3.0):
            seek(page, seconds)
            box = page.locator(".replay-eye").bounding_box()
            eyes.append(box["x"] + box["width"] / 2 - middle)
            picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), np.float64)
            # The square that the eye is on, beside the white dot of the eye itself.
            spot = picture[round(box["y"] + box["height"] / 2), :][
                round(canvas["x"]) : round(middle + canvas["width"] / 2)
            ]
            bright.append(np.flatnonzero(spot > 200).mean() - canvas["width"] / 2)
    browser.close()
    assert eyes[0] < -100
    assert eyes[1] == pytest.approx(-eyes[0], abs=1)
    assert bright == pytest.approx(eyes, abs=4)
    assert console == []
