"""How far an evaluation's figures move when its cases are drawn anew. No torch.

An evaluation keeps of each case what these figures are made of (`Cases`), so that they can be had of any draw of the
cases. An interval is the percentiles of `RESAMPLES` draws with replacement (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, ch. 13); that of a difference draws the same cases for both models. It says how far a figure would move
with other phantoms, and nothing of another seed of training. It is rough, and rather too narrow, where few cases decide
a figure; where every draw gives the same it would tell nothing, and there is none. Nor has the calibration error one:
resampling adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.stats import figure_of_merit

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES: Final = 1000
SEED: Final = 0
USABLE: Final = 0.9
"""Share of the draws in which a figure must be estimable for an interval to be given."""
NO_WIDTH: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Cases:
    """What an evaluation's figures are made of, in the order of its N cases.

    Attributes
    ----------
    said
        Finding → [N, 3]: said rightly, missed, said wrongly (0 or 1 each).
    present, probability
        Finding → [N]: whether it is there (0 or 1), and the model's probability of it.
    boxes
        [N, 2]: sum of the IoU of its boxes, and how many there are.
    similarity
        [N]: cosine of the dwell maps.
    """

    said: dict[str, Floats]
    present: dict[str, Floats]
    probability: dict[str, Floats]
    boxes: Floats
    similarity: Floats

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""

        def plain(value: Any) -> Any:
            return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else np.asarray(value).tolist()

        return {name: plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Cases:
        """What `to_dict` wrote. Raises ValueError where it is not that."""

        def arrays(value: Any) -> Any:
            return {k: arrays(v) for k, v in value.items()} if isinstance(value, dict) else np.array(value, np.float64)

        try:
            return cls(**{name: arrays(value) for name, value in kept.items()})
        except TypeError as error:
            raise ValueError(f"These are not the cases of an evaluation: {error}.") from None

    def values(self) -> dict[str, float | None]:
        """The figures of these cases, by their place in an evaluation; None where one cannot be estimated."""
        values = self.figures(np.ones((1, len(self.similarity))))
        return {place: None if np.isnan(value) else float(value) for place, (value,) in values.items()}

    def figures(self, often: Floats) -> dict[str, Floats]:
        """The figures of some draws.

        Parameters
        ----------
        often
            How often each draw holds each case, [draws, N].

        Returns
        -------
        dict
            The figure's place in an evaluation ("report.f1") → its value in each draw, [draws]; NaN where a draw has
            none.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            areas = {f: self._auc(f, often) for f in self.probability}
            squares = [(self.probability[f] - self.present[f]) ** 2 for f in self.probability]
            boxes, n = often @ self.boxes, often.sum(axis=1)
            return {
                "report.f1": _f1(often @ np.sum(list(self.said.values()), axis=0)),
                **{f"findings.{f}.f1": _f1(often @ said) for f, said in self.said.items()},
                **{f"findings.{f}.auc": area for f, area in areas.items()},
                "probability.auc_mean": _mean(list(areas.values())),
                "probability.brier": often @ np.mean(squares, axis=0) / n,
                "boxes.iou": boxes[:, 0] / boxes[:, 1],
                "gaze.similarity": often @ self.similarity / n,
            }

    def _auc(self, finding: str, often: Floats) -> Floats:
        here, score = self.present[finding] > 0, self.probability[finding]
        return figure_of_merit("auc").weighted(score[here], score[~here], often[:, here], often[:, ~here])


def intervals(cases: Cases, *, alpha: float = 0.05) -> dict[str, Interval]:
    """A two-sided interval of each figure that has one, by its place in an evaluation."""
    return _percentiles(cases.figures(_draws(len(cases.similarity))), alpha)


def difference_intervals(a: Cases, b: Cases, *, alpha: float = 0.05) -> dict[str, Interval]:
    """The same of the differences b − a of two models on the same cases.

    Raises
    ------
    ValueError
        They were not evaluated on the same cases, or one knows findings that the other does not.
    """
    if a.present.keys() != b.present.keys():
        raise ValueError("A difference needs two models that know the same findings.")
    if not all(np.array_equal(a.present[f], b.present[f]) for f in a.present):
        raise ValueError("A difference needs two evaluations on the same cases.")
    often = _draws(len(a.similarity))
    first, second = a.figures(often), b.figures(often)
    return _percentiles({name: second[name] - first[name] for name in first}, alpha)


def _draws(n: int) -> Floats:
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)


def _percentiles(figures: Mapping[str, Floats], alpha: float) -> dict[str, Interval]:
    out = {}
    for name, values in figures.items():
        usable = values[~np.isnan(values)]
        if len(usable) < USABLE * len(values) or np.ptp(usable) < NO_WIDTH:
            continue
        lower, upper = np.quantile(usable, [alpha / 2, 1 - alpha / 2])
        out[name] = (float(lower), float(upper))
    return out


def _mean(values: list[Floats]) -> Floats:
    """Mean of those that a draw has; NaN where it has none."""
    there = ~np.isnan(values)
    return np.asarray(np.where(there, values, 0).sum(axis=0) / there.sum(axis=0))


def _f1(counts: Floats) -> Floats:
    """F1 of (right, missed, wrong) [draws, 3]."""
    right, missed, wrong = counts.T
    return 2 * right / (2 * right + missed + wrong)
