"""Small free-response studies with known structure, and the figures of merit by their definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pandas as pd


def free_response(
    seed: int,
    *,
    readers: int = 3,
    treatments: tuple[str, ...] = ("A", "B"),
    n0: int = 8,
    n1: int = 8,
    lesions: int = 3,
    found: float = 0.7,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Marks and truth; 1 to ``lesions`` lesions a case with unequal weights, Poisson NL marks, ratings that tie."""
    rng = np.random.default_rng(seed)
    truth, marks = [], []
    for k in range(n0 + n1):
        case, diseased = f"c{k + 1}", int(k >= n0)
        weights = rng.dirichlet(np.ones(int(rng.integers(1, lesions + 1)))) if diseased else [0.0]
        truth += [
            {"case": case, "truth": diseased, "lesion": (number + 1) * diseased, "weight": weight}
            for number, weight in enumerate(weights)
        ]
        for treatment in treatments:
            for j in range(readers):
                row = {"reader": f"R{j + 1}", "treatment": treatment, "case": case, "truth": diseased}
                for _ in range(rng.poisson(0.6)):
                    marks.append({**row, "mark": "NL", "lesion": 0, "rating": int(rng.integers(1, 5))})
                for number in range(len(weights) * diseased):
                    if rng.random() < found:
                        marks.append({**row, "mark": "LL", "lesion": number + 1, "rating": int(rng.integers(2, 7))})
    return pd.DataFrame(marks), pd.DataFrame(truth)


def by_definition(marks: pd.DataFrame, truth: pd.DataFrame, fom: str, reader: str, treatment: str) -> float:
    """The figure of merit of one reader under one treatment, straight from its definition."""
    false: dict[str, float] = {}
    hits: dict[tuple[str, int], float] = {}
    own = marks[(marks.reader == reader) & (marks.treatment == treatment)]
    for case, mark, lesion, rating in zip(own.case, own.mark, own.lesion, own.rating, strict=True):
        if mark == "LL":
            hits[case, lesion] = rating
        else:
            false[case] = max(rating, false.get(case, -np.inf))

    def psi(y: float, z: float) -> float:
        return 1.0 if z > y else 0.5 if z == y else 0.0

    rows = list(zip(truth.case, truth.truth, truth.lesion, truth.weight, strict=True))
    normal = {case for case, diseased, _, _ in rows if not diseased}
    diseased = {case for case, diseased, _, _ in rows if diseased}
    if fom == "hrauc":
        highest = {c: max([false.get(c, -np.inf)] + [z for (d, _), z in hits.items() if d == c]) for c, *_ in rows}
        return float(np.mean([psi(highest[h], highest[d]) for h in normal for d in diseased]))
    top, bottom = 0.0, 0.0
    for h in normal | diseased if fom.endswith("1") else normal:
        for case, is_diseased, lesion, weight in rows:
            if is_diseased:
                share = weight if fom.startswith("w") else 1.0
                top += share * psi(false.get(h, -np.inf), hits.get((case, lesion), -np.inf))
                bottom += share
    return top / bottom
