"""Small readings with known structure, for tests that need no reference data."""

from __future__ import annotations

import numpy as np
import pandas as pd


def roe_metz(
    seed: int,
    *,
    readers: int = 4,
    treatments: tuple[str, ...] = ("A", "B"),
    n0: int = 20,
    n1: int = 20,
    mu: float = 1.5,
) -> pd.DataFrame:
    """Ratings from a Roe and Metz model (low data correlation, high reader variance), rounded so that ties occur."""
    rng = np.random.default_rng(seed)
    rows = []
    for truth, n in ((0, n0), (1, n1)):
        case = rng.normal(0, np.sqrt(0.1), n)
        reader_effect = rng.normal(0, np.sqrt(0.03), readers)
        reader_case = rng.normal(0, np.sqrt(0.2), (readers, n))
        for treatment in treatments:
            treatment_reader = rng.normal(0, np.sqrt(0.03), readers)
            treatment_case = rng.normal(0, np.sqrt(0.1), n)
            for j in range(readers):
                score = (
                    mu * truth
                    + case
                    + reader_effect[j]
                    + reader_case[j]
                    + treatment_reader[j]
                    + treatment_case
                    + rng.normal(0, np.sqrt(0.6), n)
                )
                rows += [
                    {"reader": f"R{j + 1}", "treatment": treatment, "case": f"{truth}-{k}", "truth": truth, "rating": s}
                    for k, s in enumerate(np.round(score, 1))
                ]
    return pd.DataFrame(rows)
