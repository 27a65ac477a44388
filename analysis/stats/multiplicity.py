"""Adjusted p-values for several tests of one study.

Every function takes the p-values in the order of the tests and returns adjusted ones in that order: a test is
significant at level α of the whole family where its adjusted p-value is at most α.

A test that could not be made is None. It stays in the family as if its p-value were 1 (it can never be rejected, so the
error rate is kept whatever it would have shown) and comes back as None.

Sources: Holm, Scandinavian Journal of Statistics 6:65 (1979); Hochberg, Biometrika 75:800 (1988); Benjamini & Hochberg,
Journal of the Royal Statistical Society B 57:289 (1995); Maurer, Hothorn & Lehmacher, Biometrie in der chemisch-
pharmazeutischen Industrie 6:3 (1995) for fixed sequences; Dmitrienko, Offen & Westfall, Statistics in Medicine 22:2387
(2003) for serial gatekeeping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Adjusted = list[float | None]


def bonferroni(p_values: Sequence[float | None]) -> Adjusted:
    """p·m, at most 1. Holds the family-wise error rate under any dependence."""
    filled = _checked(p_values)
    return _with_none(p_values, [min(1.0, len(filled) * p) for p in filled])


def holm(p_values: Sequence[float | None]) -> Adjusted:
    """Holm's step-down adjustment. Holds the family-wise error rate under any dependence.

    >>> holm([0.01, None, 0.04])
    [0.03, None, 0.08]
    """
    filled = _checked(p_values)
    adjusted, running = [1.0] * len(filled), 0.0
    for rank, position in enumerate(_ascending(filled)):
        running = max(running, min(1.0, (len(filled) - rank) * filled[position]))
        adjusted[position] = running
    return _with_none(p_values, adjusted)


def hochberg(p_values: Sequence[float | None]) -> Adjusted:
    """Hochberg's step-up adjustment. Holds the family-wise error rate of independent or positively dependent tests."""
    filled = _checked(p_values)
    adjusted, running = [1.0] * len(filled), 1.0
    for rank, position in reversed(list(enumerate(_ascending(filled)))):
        running = min(running, (len(filled) - rank) * filled[position])
        adjusted[position] = running
    return _with_none(p_values, adjusted)


def benjamini_hochberg(p_values: Sequence[float | None]) -> Adjusted:
    """Benjamini and Hochberg's step-up adjustment.

    Holds the false discovery rate, not the family-wise error rate, of independent or positively dependent tests.
    """
    filled = _checked(p_values)
    adjusted, running = [1.0] * len(filled), 1.0
    for rank, position in reversed(list(enumerate(_ascending(filled), start=1))):
        running = min(running, filled[position] * len(filled) / rank)
        adjusted[position] = running
    return _with_none(p_values, adjusted)


def fixed_sequence(p_values: Sequence[float | None]) -> Adjusted:
    """Tests in an order written down beforehand, each at the full level as long as all before it were rejected.

    The adjusted p-value is the largest so far; after a test that could not be made it is 1.
    """
    adjusted, running = [], 0.0
    for p in _checked(p_values):
        running = max(running, p)
        adjusted.append(running)
    return _with_none(p_values, adjusted)


def gatekeeping(
    families: Sequence[Sequence[float | None]],
    adjust: Callable[[Sequence[float | None]], Adjusted] = holm,
) -> list[Adjusted]:
    """Serial gatekeeping: a family is looked at only where every test of the families before it was rejected.

    Args:
        families: p-values of each family, in the order written down beforehand (primary endpoints first).
        adjust: adjustment within a family.
    """
    found, gate = [], 0.0
    for family in families:
        within = adjust(family)
        found.append([None if p is None else max(gate, p) for p in within])
        gate = max([gate, *(1.0 if p is None else p for p in within)])
    return found


#: The adjustments a plan may name.
ADJUSTMENTS: dict[str, Callable[[Sequence[float | None]], Adjusted]] = {
    "bonferroni": bonferroni,
    "holm": holm,
    "hochberg": hochberg,
    "benjamini_hochberg": benjamini_hochberg,
    "fixed_sequence": fixed_sequence,
}


def _checked(p_values: Sequence[float | None]) -> list[float]:
    filled = [1.0 if p is None else float(p) for p in p_values]
    for position, p in enumerate(filled, start=1):
        if math.isnan(p) or not 0 <= p <= 1:
            raise ValueError(f"p-value {position} is {p}; it must be between 0 and 1, or None where there is none.")
    return filled


def _ascending(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=values.__getitem__)


def _with_none(p_values: Sequence[float | None], adjusted: list[float]) -> Adjusted:
    return [None if p is None else value for p, value in zip(p_values, adjusted, strict=True)]
