"""Simulated readers: synthetic people, real interface.

A simulated reader signs in, takes the next case from the worklist, fetches the frame, looks (its gaze goes to the
ingest socket as a station agent's would), answers, and submits; everything goes over HTTP and WebSockets. Only the
perception is made up: the reader is told the truth by the command that runs it and blurs it by a binormal model.

The perception of a finding is x = mu * truth + case difficulty + noise. A reader given a probability p by the
assistance adds `trust * logit(p)`. Five-step confidence is x cut at the reader's own thresholds.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from capture.gaze.simulate.reader import phrase

from .simulated_gaze import Perceived, SimulatedGaze

log = logging.getLogger(__name__)

#: {case label: {finding: (side, box or None)}}; a finding that is absent is not in the inner mapping.
Truth = Mapping[str, Mapping[str, tuple[str, list[float] | None]]]


class SimulationError(Exception):
    """The site answered something a reader cannot go on from; the sentence says what."""


@dataclass(frozen=True)
class Temperament:
    """What makes one simulated reader differ from another."""

    acuity: float
    trust: float
    thresholds: tuple[float, float, float, float]
    median_seconds: float
    assisted_factor: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Temperament:
        bias = rng.normal(0.0, 0.15)
        return cls(
            acuity=float(rng.normal(1.5, 0.2)),
            trust=float(rng.uniform(0.15, 0.4)),
            thresholds=(0.1 + bias, 0.6 + bias, 1.1 + bias, 1.6 + bias),
            median_seconds=float(rng.lognormal(math.log(45.0), 0.2)),
            assisted_factor=float(rng.normal(0.9, 0.05)),
        )


class SimulatedReader:
    """One reader at one browser. `speed` divides the time spent on a case; the server's clock sees what is left."""

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: str,
        truth: Truth,
        difficulty: Mapping[str, float],
        seed: int,
        speed: float,
        gaze: SimulatedGaze | None = None,
        consents: bool = True,
    ) -> None:
        self.username = username
        self._password = password
        self._truth = truth
        self._difficulty = difficulty
        self._rng = np.random.default_rng(seed)
        self._temperament = Temperament.draw(self._rng)
        self._speed = speed
        self._gaze = gaze
        self._consents = consents
        self.client = httpx.Client(base_url=url, timeout=60.0, headers={"Accept-Encoding": "identity"})

    def read_all(self, *, limit: int | None = None, on_read: Callable[[], None] = lambda: None) -> int:
        """Read until the worklist is empty or `limit` reads are done; returns how many were submitted."""
        with self.client:
            self._sign_in()
            done = 0
            while limit is None or done < limit:
                page = self._open_next()
                if page is None:
                    break
                self._read(page)
                done += 1
                on_read()
            return done

    def _sign_in(self) -> None:
        self.client.get("/accounts/login/").raise_for_status()
        answer = self._post_form("/accounts/login/", {"login": self.username, "password": self._password})
        if answer.status_code != 302:
            raise SimulationError(f"{self.username} could not sign in (status {answer.status_code}).")

    def _post_form(self, path: str, data: dict[str, Any]) -> httpx.Response:
        token = self.client.cookies.get("csrftoken", "")
        return self.client.post(
            path, data={**data, "csrfmiddlewaretoken": token}, headers={"Referer": str(self.client.base_url)}
        )

    def _post_json(self, path: str, body: dict[str, Any]) -> httpx.Response:
        token = self.client.cookies.get("csrftoken") or ""
        headers = {"X-CSRFToken": token, "Referer": str(self.client.base_url)}
        return self.client.post(path, json=body, headers=headers)

    def _open_next(self) -> str | None:
        """The address of the next read, or None when nothing is left. Consents (or not) and calibrates where asked."""
        for _ in range(4):
            worklist = self.client.get("/worklist/").text
            if self._consents and (consent := re.search(r'action="(/worklist/\d+/consent/)"', worklist)):
                self._post_form(consent[1], {"consent": "yes"})
                continue
            form = re.search(r'action="(/worklist/\d+/next/)"', worklist)
            if form is None:
                return None
            answer = self._post_form(form[1], {})
            location = answer.headers.get("location", "")
            if location.startswith("/read/"):
                return location
            if location.startswith("/capture/station/") and self._gaze is not None:
                check = self.client.get(location)
                check.raise_for_status()
                self._gaze.calibrate(_config(check.text, "station-config"), self._post_json, self._rng)
                continue
            raise SimulationError(
                f"{self.username} asked for the next case and was sent to {location or answer.text[:200]!r}."
            )
        raise SimulationError(f"{self.username} was sent round in circles before a case opened.")

    def _read(self, location: str) -> None:
        page = self.client.get(location)
        page.raise_for_status()
        config = _config(page.text)
        self.client.get(config["image"]["frameUrl"]).raise_for_status()
        assisted = config["assistance"] != "none"
        evidence = self._assistance(config) if assisted else None
        # The site never tells a reader which case this is: the simulation knows it by the image alone.
        image = str(config["image"]["id"])
        confidences = self._confidences(config["findings"], image, evidence)
        perceived = self._perceived(confidences, image, config["image"])
        seconds = float(
            self._temperament.median_seconds
            * self._rng.lognormal(0.25 * self._difficulty[image], 0.25)
            * (self._temperament.assisted_factor if assisted else 1.0)
        )
        if self._gaze is not None and config.get("capture"):
            sentences = self._gaze.record(config, perceived, self._rng, self.client, self._post_json, seconds)
        else:
            sentences = _typed([phrase(p.finding, p.side, present=True) for p in perceived] or ["No acute finding."])
        time.sleep(seconds / self._speed)
        answer = self._post_json(
            config["urls"]["submit"],
            {
                "responses": [{"finding": name, "confidence": value} for name, value in confidences.items()],
                "marks": [
                    {"finding": p.finding, "shape": "box", "points": list(p.box), "confidence": confidences[p.finding]}
                    for p in perceived
                ],
                "report": {"text": " ".join(s["text"] for s in sentences), "sentences": sentences},
                "t": sentences[-1]["end"],
                "last_event": 0,
            },
        )
        if answer.status_code != 200:
            raise SimulationError(f"{self.username}'s answers were refused: {answer.text[:300]}")

    def _assistance(self, config: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.get(config["urls"]["assistance"])
        answer.raise_for_status()
        evidence: dict[str, Any] = answer.json()
        return evidence

    def _confidences(self, findings: list[str], image: str, evidence: dict[str, Any] | None) -> dict[str, int]:
        said = {row["finding"]: row["probability"] for row in (evidence or {}).get("findings", [])}
        confidences = {}
        for finding in findings:
            x = self._temperament.acuity * (finding in self._truth[image]) - 0.4 * self._difficulty[image]
            x += self._rng.normal()
            if finding in said:
                p = min(max(float(said[finding]), 0.01), 0.99)
                x += self._temperament.trust * math.log(p / (1 - p))
            confidences[finding] = int(1 + sum(x > threshold for threshold in self._temperament.thresholds))
        return confidences

    def _perceived(self, confidences: Mapping[str, int], image: str, size: Mapping[str, Any]) -> list[Perceived]:
        """What the reader believes is there and where: the true box where there is one, else a guess in the lungs."""
        perceived = []
        for finding, confidence in confidences.items():
            if confidence < 4:
                continue
            side, box = self._truth[image].get(finding, ("", None))
            if box is None:
                side = side or ("left" if self._rng.random() < 0.5 else "right")
                x, y = (
                    (0.68 if side == "left" else 0.32) * size["columns"],
                    self._rng.uniform(0.35, 0.65) * size["rows"],
                )
                half = 0.06 * size["columns"]
                box = [x - half, y - half, x + half, y + half]
            perceived.append(Perceived(finding, side, (box[0], box[1], box[2], box[3])))
        return perceived


def _typed(texts: list[str]) -> list[dict[str, Any]]:
    """Sentences typed one after the other at about eleven characters a second, in browser milliseconds."""
    start, timed = 1000.0, []
    for text in texts:
        end = start + 90.0 * len(text)
        timed.append({"text": text, "start": start, "end": end})
        start = end + 1500.0
    return timed


def _config(html: str, name: str = "read-config") -> dict[str, Any]:
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', html, re.DOTALL)
    if found is None:
        raise SimulationError(f"The page carries no {name}.")
    config: dict[str, Any] = json.loads(found[1])
    return config


def run_readers(
    readers: list[SimulatedReader],
    *,
    limit: int | None = None,
    on_read: Callable[[], None] = lambda: None,
    workers: int = 6,
) -> int:
    """Let them read side by side; the first error of any of them is raised when all have stopped."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(reader.read_all, limit=limit, on_read=on_read) for reader in readers]
        return sum(future.result() for future in futures)
