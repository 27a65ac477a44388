"""What is trained when. Objectives are staged: mixing all of them from the start was measured to hurt the report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Attributes
    ----------
    steps
        Optimizer steps.
    lr
        Peak learning rate; linear warm-up over `warmup` steps, then cosine to `floor` of it over the stage.
    batch
        Images a step.
    tasks
        Task → probability that an image brings one of its examples of that task.
    weights
        Task → weight of its loss (mean cross-entropy over its supervised tokens); 1 where not named.
    heat
        Weight of the gaze-heat loss; 0 switches it off.
    """

    name: str
    steps: int
    lr: float
    batch: int = 16
    tasks: dict[str, float] = field(default_factory=lambda: {"report": 1.0})
    weights: dict[str, float] = field(default_factory=dict)
    heat: float = 3.0
    warmup: int = 40
    floor: float = 0.02

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


HEAT_WEIGHTS: Final = (100.0, 40.0)
"""Of the gaze-heat loss in the two stages of the small model."""
OBJECTIVES: Final = ("heat", "fvp", "gtm", "sda")
"""What can be switched off; the report cannot."""


def small_stages(*, without: Collection[str] = (), steps: int = 1100, first: float = 0.45) -> list[Stage]:
    """From nothing: report and heat first, then boxes, trajectories, orders and questions as text.

    The heat weighs so much because it is what teaches the image: before there was a stem, the report's F1 on 150
    phantoms of the validation series was .87 with a weight of 10, .89 with 30 and .90 with 100 (1,000 steps of 8).

    Parameters
    ----------
    without
        Objectives left out, of `OBJECTIVES`. Steps, rates and the order of the data stay the same.
    steps
        Optimizer steps in all.
    first
        Share of them that the first stage has.

    Raises
    ------
    ValueError
        An objective that is not one, or fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"{steps} steps are too few for two stages; give at least 2.")
    unknown = sorted(set(without) - set(OBJECTIVES))
    if unknown:
        raise ValueError(f"“{unknown[0]}” is not an objective; those that can be left out: {', '.join(OBJECTIVES)}.")
    first_heat, second_heat = (0.0, 0.0) if "heat" in without else HEAT_WEIGHTS
    tasks = {"report": 0.5, "fvp": 1.0, "gtm": 1.0, "sda": 0.3, "vqa": 0.2}
    weights = {"fvp": 0.5, "gtm": 1.0, "sda": 0.5, "vqa": 0.2}
    left = {t: share for t, share in tasks.items() if t not in without}
    begin = max(1, round(first * steps))
    return [
        Stage("report and heat", begin, 2e-3, batch=8, heat=first_heat, warmup=min(40, begin)),
        Stage(
            "boxes, trajectories and orders",
            max(1, steps - begin),
            1.5e-3,
            batch=8,
            tasks=left,
            weights={t: w for t, w in weights.items() if t in left},
            heat=second_heat,
            warmup=min(20, begin),
        ),
    ]


def retrain_stages(steps: int, *, batch: int = 8, lr: float = 1e-4) -> list[Stage]:
    """On real visits with replay: every objective at once, at a low rate.

    After 60 steps on one visit the small model’s report F1 on 60 held-out phantoms was .48 at 3e-4 and .60 at 1e-4
    (.74 before).
    """
    return [
        Stage(
            "visits with replay",
            steps,
            lr,
            batch=batch,
            tasks={"report": 0.8, "fvp": 0.5, "gtm": 0.5, "vqa": 0.5},
            weights={"fvp": 0.5, "gtm": 0.5, "vqa": 0.3},
            warmup=max(1, min(20, steps // 10)),
        )
    ]
