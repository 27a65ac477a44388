"""What `gazex evaluate` measured, as lines to read and to compare, each beside its chance value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gazex.findings import PHANTOM_FINDINGS
from gazex.resampling import Cases, Interval, difference_intervals
from training.models import ModelVersion

NOT_ESTIMABLE = "not estimable"


@dataclass(frozen=True)
class Metric:
    """Where a figure lies in an evaluation, what it is called, where its chance value lies, and which way is better."""

    keys: tuple[str, ...]
    label: str
    chance: tuple[str, ...] | float | None = None
    higher: bool = True
    count: bool = False

    @property
    def place(self) -> str:
        """Its name among an evaluation's intervals."""
        return ".".join(self.keys)


METRICS = (
    Metric(("report", "f1"), "Report F1 (finding and side)", ("report", "f1_chance")),
    Metric(("probability", "auc_mean"), "AUC, mean of the findings", ("probability", "auc_chance")),
    Metric(("probability", "brier"), "Brier score", ("probability", "brier_prevalence"), higher=False),
    Metric(("probability", "ece"), "Expected calibration error", higher=False),
    Metric(("boxes", "iou"), "Box IoU (chance: the mean box)", ("boxes", "iou_mean_box")),
    Metric(("gaze", "similarity"), "Gaze similarity", ("gaze", "similarity_chance")),
    Metric(("parse_failures", "report"), "Reports that do not parse", higher=False, count=True),
    *(Metric(("findings", f, "auc"), f"{f}: AUC", 0.5) for f in PHANTOM_FINDINGS),
    *(Metric(("findings", f, "f1"), f"{f}: F1", ("findings", f, "f1_chance")) for f in PHANTOM_FINDINGS),
)
BY_KEYS = {metric.keys: metric for metric in METRICS}


@dataclass(frozen=True)
class Row:
    """A line of the comparison, ready to print, with 95 % intervals where there are some."""

    label: str
    a: str
    b: str
    difference: str
    chance: str
    a_interval: str
    b_interval: str
    difference_interval: str


def value(metrics: dict[str, Any], keys: tuple[str, ...]) -> float | None:
    """The figure at these keys; None where it is missing or could not be estimated."""
    found: Any = metrics
    for key in keys:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def compare(a: ModelVersion | None, b: ModelVersion) -> list[Row]:
    """Each metric of two versions and the difference b − a; of `b` alone where `a` is None; [] where none is there."""
    first, second = (a.metrics if a else {}), b.metrics
    if not first and not second:
        return []
    apart = _differences(first, second)
    rows = []
    for metric in METRICS:
        x, y = value(first, metric.keys), value(second, metric.keys)
        difference = y - x if x is not None and y is not None else None
        # Different numbers of phantoms measure different things: no difference is better than a wrong one.
        if first and second and first.get("cases") != second.get("cases"):
            difference = None
        rows.append(
            Row(
                metric.label,
                _text(x, first, metric),
                _text(y, second, metric),
                _signed(difference, metric),
                _chance(second or first, metric),
                _range(first.get("intervals", {}).get(metric.place)),
                _range(second.get("intervals", {}).get(metric.place)),
                _range(apart.get(metric.place), "+"),
            )
        )
    return rows


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Interval]:
    """95 % intervals of the differences; none where an evaluation kept nothing of its cases, or had others."""
    if "each" not in first or "each" not in second:
        return {}
    try:
        return difference_intervals(Cases.from_dict(first["each"]), Cases.from_dict(second["each"]))
    except ValueError:
        return {}


def _range(interval: Sequence[float] | None, sign: str = "") -> str:
    return " to ".join(f"{end:{sign}.3f}" for end in interval or ()).replace("-", "−")


def _text(number: float | None, metrics: dict[str, Any], metric: Metric) -> str:
    if number is None:
        return NOT_ESTIMABLE if metrics else "–"
    return f"{number:.0f} of {metrics['parse_failures']['of']}" if metric.count else f"{number:.3f}"


def _signed(number: float | None, metric: Metric) -> str:
    if number is None:
        return "–"
    return (f"{number:+.0f}" if metric.count else f"{number:+.3f}").replace("-", "−")


def _chance(metrics: dict[str, Any], metric: Metric) -> str:
    if metric.chance is None:
        return ""
    number = metric.chance if isinstance(metric.chance, float) else value(metrics, metric.chance)
    return f"{number:.3f}" if number is not None else "–"
