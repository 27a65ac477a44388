"""While Chromium paints under load, the clock's error is inside the bound that the session states."""

# ruff: noqa: F811 - pytest hands fixtures over by the names that were imported

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from capture.gaze import clocks
from tests.browser import browser, playwright_driver  # noqa: F401 - fixtures
from tests.study.clock_load import measure
from tests.study.viewer_harness import Site, Sockets


@pytest.fixture
def sockets() -> Iterator[tuple[Site, Sockets]]:
    site = Site()
    sockets = Sockets(site.url)
    yield site, sockets
    sockets.close()
    site.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the two clocks' true difference")
def test_the_clocks_error_is_inside_the_stated_bound_at_every_exchange_while_the_page_paints(
    sockets: tuple[Site, Sockets], browser: Any
) -> None:
    site, agent = sockets
    # The burst of twenty and some of the exchanges that follow it once a second.
    got = measure(browser, site, agent.agent_url, "key", until=lambda count, seconds: count >= 23, workers=1)
    assert got.isolated and got.frames > 0
    # The reference is what it claims to be: two tellings agree, and no exchange contradicts it.
    assert got.truth_spread_s < 50e-6
    assert abs(got.truth_devtools_s - got.truth_s) < 200e-6
    t0, t1, t2, t3 = got.exchanges.T
    tolerance = got.truth_spread_s + 10e-6
    assert (got.truth_s <= t1 - t0 / 1e3 + tolerance).all()
    assert (got.truth_s >= t2 - t3 / 1e3 - tolerance).all()

    fit = clocks.fit(got.exchanges)
    assert np.abs(got.error_s(fit.to_lsl)).max() <= fit.bound_s
    assert fit.exchanges == len(got.exchanges)
