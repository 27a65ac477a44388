"""How often the 95 % intervals of analysis.stats.means hold the truth, in crossed designs and with cells missing.

    .venv/bin/python benchmarks/means_coverage.py [TRIALS]

Values have random readers, cases and all their interactions with the treatment; the true difference and mean are 0.
Rates have events whose log odds vary with reader and case, on 30 % of reads; the truth is the marginal probability.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from analysis.stats.means import cell_means, nested, ratio_of

READERS, CASES = 6, 40


def values(rng: np.random.Generator) -> np.ndarray:
    return (
        rng.normal(0, 0.2, (1, READERS, 1))
        + rng.normal(0, 0.15, (2, READERS, 1))
        + rng.normal(0, 0.5, (1, 1, CASES))
        + rng.normal(0, 0.3, (2, 1, CASES))
        + rng.normal(0, 0.3, (1, READERS, CASES))
        + rng.normal(0, 0.5, (2, READERS, CASES))
    )


def crossed(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return block


def thinned(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """30 % of reads missing at random."""
    block[rng.random(block.shape) < 0.3] = np.nan
    return block


def alternating(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every reader reads every case once."""
    for j in range(READERS):
        odd = (np.arange(CASES) + j) % 2 == 0
        block[0, j, odd] = np.nan
        block[1, j, ~odd] = np.nan
    return block


def split_plot(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half the readers read half the cases, under both treatments."""
    block[:, : READERS // 2, CASES // 2 :] = np.nan
    block[:, READERS // 2 :, : CASES // 2] = np.nan
    return block


def nested_readers(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half the readers under either treatment, all cases."""
    block[0, : READERS // 2] = np.nan
    block[1, READERS // 2 :] = np.nan
    return block


def partly_nested(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two readers under the first treatment alone, two under the second alone, two under both."""
    block[0, :2] = np.nan
    block[1, 4:] = np.nan
    return block


DESIGNS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    crossed,
    thinned,
    alternating,
    split_plot,
    nested_readers,
    partly_nested,
)


def main(trials: int) -> None:
    rng = np.random.default_rng(1)
    print(f"{trials} trials, {READERS} readers, {CASES} cases; standard error {(0.0475 / trials) ** 0.5:.3f}")
    print("means: design, coverage of the difference, of a mean, share not estimable")
    for design in DESIGNS:
        held, none = [], 0
        for _ in range(trials):
            foms, errors = cell_means(design(values(rng), rng))
            assert errors is not None
            means, differences = nested(foms, errors)
            if differences[0, 1].se is None:
                none += 1
                continue
            held.append([x.lower <= 0 <= x.upper for x in (differences[0, 1], means[0])])  # type: ignore[operator]
        difference, mean = np.mean(held, axis=0)
        print(f"  {design.__name__:15s} {difference:.3f}  {mean:.3f}  {none / trials:.3f}")
    print("rates: true rate, weighting, coverage on the plain scale, on the logit scale")
    for centre in (-1.5, -3.0):
        spread = np.random.default_rng(5).normal(0, 1, 1_000_000)
        truth = float((1 / (1 + np.exp(-(centre + spread)))).mean())
        held_rates = {(w, s): [] for w in ("pooled", "readers") for s in ("identity", "logit")}
        for _ in range(trials):
            odds = centre + rng.normal(0, 0.5, (READERS, 1)) + rng.normal(0, 0.5**0.5, (1, 100))
            odds = odds + rng.normal(0, 0.5, (READERS, 100))
            under = (rng.random(odds.shape) < 0.3).astype(float)
            over = under * (rng.random(odds.shape) < 1 / (1 + np.exp(-odds)))
            for (weighting, scale), held in held_rates.items():
                found = ratio_of(over, under, weighting=weighting, scale=scale)  # type: ignore[arg-type]
                if found.lower is not None and found.upper is not None:
                    held.append(found.lower < truth < found.upper)
        for weighting in ("pooled", "readers"):
            plain, logit = (np.mean(held_rates[weighting, scale]) for scale in ("identity", "logit"))
            print(f"  {truth:.3f} {weighting:8s} {plain:.3f}  {logit:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
