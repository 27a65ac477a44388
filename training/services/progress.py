"""The trainer's `progress.jsonl`, read as it grows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from training.models import TrainingRun, TrainingStep


class Tail:
    """New whole lines of a file that another process appends to; a file cut shorter is read from its start again."""

    def __init__(self, path: Path, *, skip: bool) -> None:
        """`skip` starts at the file's present end: what an earlier attempt wrote is already stored."""
        self.path = path
        self.offset = path.stat().st_size if skip and path.exists() else 0
        self.step: int | None = None
        self.calibrating = False

    def read(self) -> list[dict[str, Any]]:
        """The points written since the last call, in order of their step; lines that are no points are left out."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self.offset:
            self.offset = 0
        with self.path.open("rb") as file:
            file.seek(self.offset)
            block = file.read()
        whole = block[: block.rfind(b"\n") + 1]
        self.offset += len(whole)
        points = []
        for line in whole.splitlines():
            point = _point(line)
            self.calibrating = b'"calibrating"' in line
            # A trainer that rewrites its file on resuming repeats points that are stored already.
            if point is not None and (self.step is None or point["step"] > self.step):
                self.step = point["step"]
                points.append(point)
        return points


def store(*, run: TrainingRun, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Inserts the points of this attempt; returns the run's own fields to write with the next heartbeat."""
    if not points:
        return {}
    TrainingStep.objects.bulk_create(
        [TrainingStep(run=run, attempt=run.attempt, **point) for point in points], ignore_conflicts=True
    )
    return {"step": points[-1]["step"], "loss": points[-1]["loss"]}


def _point(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        if "phase" in row:  # the probabilities' calibration after the last step
            return None
        point = {"step": int(row["step"])} | {key: float(row[key]) for key in ("loss", "lr", "elapsed_s")}
    except (ValueError, KeyError, TypeError):
        return None
    return point if point["step"] >= 0 and all(map(math.isfinite, point.values())) else None
