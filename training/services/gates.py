"""What a new version must reach to be promoted: written with the run, before anybody knows what will come out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.models import ModelVersion

from . import metrics

#: Frozen test phantoms each version is measured on.
CASES = 60
#: (metric, by how much it may be worse than the base's). About one standard error of each on 60 phantoms.
TOLERANCES = (
    (("report", "f1"), 0.05),
    (("probability", "auc_mean"), 0.03),
    (("gaze", "similarity"), 0.05),
    (("parse_failures", "report"), 3.0),
)


@dataclass(frozen=True)
class Check:
    """One condition of a gate, and how it came out."""

    label: str
    passed: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def default_gate() -> dict[str, Any]:
    """The gate a run gets: not worse than its base by more than the tolerances, on the same phantoms."""
    return {"cases": CASES, "checks": [{"metric": list(keys), "worse_by": worse_by} for keys, worse_by in TOLERANCES]}


def describe(gate: dict[str, Any]) -> list[str]:
    """A gate in words."""
    lines = []
    for check in gate["checks"]:
        metric = metrics.BY_KEYS[tuple(check["metric"])]
        bound = f"{check['worse_by']:g}"
        lines.append(f"{metric.label}: not {'below' if metric.higher else 'above'} the base by more than {bound}")
    return lines


def checks(version: ModelVersion) -> list[Check]:
    """How a version stands against its run's gate; [] for a base model, which has none."""
    if version.run is None or version.base is None:
        return []
    gate, base, own = version.run.gate, version.base.metrics, version.metrics
    out = []
    for check in gate["checks"]:
        metric = metrics.BY_KEYS[tuple(check["metric"])]
        before, after = metrics.value(base, metric.keys), metrics.value(own, metric.keys)
        if base.get("cases") != gate["cases"] or own.get("cases") != gate["cases"]:
            out.append(
                Check(metric.label, False, f"{metric.label} was not measured on {gate['cases']} frozen phantoms.")
            )
        elif before is None or after is None:
            out.append(Check(metric.label, False, f"{metric.label} is not estimable, so it cannot pass."))
        else:
            worse = before - after if metric.higher else after - before
            passed = worse <= check["worse_by"]
            out.append(
                Check(
                    metric.label,
                    passed,
                    f"{metric.label} is {after:.3g}, the base's {before:.3g}; "
                    f"it may be {'lower' if metric.higher else 'higher'} by {check['worse_by']:g}.",
                )
            )
    return out
