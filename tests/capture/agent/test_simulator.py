"""The simulated tracker goes where its page goes."""

from __future__ import annotations

from tests.capture.agent.harness import Station, eventually


async def test_the_simulated_tracker_moves_to_the_display_its_page_is_on(station: Station) -> None:
    station.simulator("--display", "1280x800,344x215,600")
    station.agent()
    page = await station.page()
    assert (await page.ask("hello", "welcome"))["tracker"]["simulated"] is True
    await page.say("stimulus", kind="display", width_px=2560, height_px=1440)

    async def moved() -> dict[str, float] | None:
        display = (await page.ask("hello", "welcome"))["display"]
        return display if display["width_px"] == 2560 else None

    display = await eventually(moved)
    assert display == {"width_px": 2560, "height_px": 1440, "width_mm": 688.0, "height_mm": 387.0, "distance_mm": 600.0}
