"""Covariances of the AUCs of a large reader study, beside the times recorded of MRMCaov, RJafroc and iMRMC.

    .venv/bin/python benchmarks/mrmc.py [--repeats N]

From ratings in memory to the covariance of all AUCs (components included), and for U-statistics to means and
differences with degrees of freedom: user CPU seconds in one thread, best of the repeats. 20 readers × 2 treatments ×
1000 cases are the reference study with its ties where ../shared/reference is there, and drawn with the same ties
otherwise; 2000 cases are drawn.

The peers' times are not measured here: they are those recorded for the same study on this kind of machine (user CPU of
their covariance and analysis, one thread). A ratio to a recorded time says an order of magnitude, no more.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# One thread, which is settled when numpy is loaded.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import scipy

from analysis.stats import ustatistics
from analysis.stats.components import components, delong_covariance, jackknife_covariance, unbiased_covariance
from analysis.stats.foms import figure_of_merit
from analysis.stats.mrmc import Options, analyze_ratings, covariance_of
from analysis.stats.ratings import Ratings, read_ratings

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "mrmc" / "sim20x2x1000_ties.csv"
READERS, TREATMENTS = 20, 2

#: User CPU seconds recorded of others on the same studies, by number of cases.
RECORDED = {
    "DeLong": {1000: {"MRMCaov 0.3.0": 1.6}, 2000: {"MRMCaov 0.3.0": 5.9}},
    "jackknife": {1000: {"MRMCaov 0.3.0": 11.9, "RJafroc": 36.4}, 2000: {}},
    "unbiased": {1000: {"MRMCaov 0.3.0": 0.93}, 2000: {"MRMCaov 0.3.0": 2.5}},
    "U-statistics": {1000: {"iMRMC R 2.1.2": 41.6, "iMRMC Java 4.0.3": 43.4}, 2000: {"iMRMC Java 4.0.3": 165.0}},
}


def drawn(cases: int, seed: int = 1) -> Ratings:
    """Half diseased, ratings 0 … 100 with many ties."""
    rng = np.random.default_rng(seed)
    truth = np.arange(cases) < cases // 2
    latent = 1.2 * truth + rng.normal(0, 0.6, cases) + rng.normal(0, 0.8, (TREATMENTS, READERS, cases))
    scores = np.clip(np.round(50 + 18 * latent), 0, 100)
    names = tuple(map(str, range(1, max(READERS, cases) + 1)))
    return Ratings(names[:READERS], names[:TREATMENTS], names[:cases], truth, scores)


def user_seconds(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        work()
        best = min(best, resource.getrusage(resource.RUSAGE_SELF).ru_utime - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="runs of each, the best counts (default 15)")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("at least one run")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
          f" numpy {np.__version__}, scipy {scipy.__version__}, {datetime.now(UTC):%Y-%m-%d},"
          f" load {os.getloadavg()[0]:.1f}; user CPU, one thread, best of {args.repeats}")  # fmt: skip
    if REFERENCE.exists():
        measured("the reference study", read_ratings(pd.read_csv(REFERENCE)), args.repeats)
    else:
        measured("drawn", drawn(1000), args.repeats)
    measured("drawn", drawn(2000), args.repeats)


def measured(origin: str, table: Ratings, repeats: int) -> None:
    n, curves = len(table.cases), READERS * TREATMENTS
    high, low = table.positives.reshape(curves, -1), table.negatives.reshape(curves, -1)
    # Ratings without ties or a short scale take the other way to the components.
    fine = high + np.random.default_rng(0).normal(0, 1e-6, high.shape)
    print(f"\n{READERS} readers × {TREATMENTS} treatments × {n} cases ({origin})")
    works: dict[str, Callable[[], object]] = {
        "components": lambda: components(high, low),
        "components, no ties": lambda: components(fine, low),
        "DeLong": lambda: delong_covariance(components(high, low)),
        "DeLong, no ties": lambda: delong_covariance(components(fine, low)),
        "jackknife": lambda: jackknife_covariance(components(high, low)),
        "unbiased": lambda: unbiased_covariance(components(high, low), high, low),
        "unbiased, no ties": lambda: unbiased_covariance(components(fine, low), fine, low),
        "U-statistics": lambda: ustatistics.analyse(table),
        "whole result, DeLong": lambda: analyze_ratings(table),
    }
    fom = figure_of_merit("partial_auc", fpr=(0.0, 0.2))
    works["partial AUC, DeLong"] = lambda: delong_covariance(fom.components(high, low))
    for name, work in works.items():
        line(name, user_seconds(work, repeats), n)
    auc = figure_of_merit("auc")
    bootstrap = user_seconds(
        lambda: covariance_of(components(high, low), auc, "bootstrap", high, low, Options(replicates=2000)), 1
    )
    line("bootstrap, 2000 draws", bootstrap, n)


def line(name: str, seconds: float, cases: int) -> None:
    recorded = RECORDED.get(name.split(",")[0], {}).get(cases, {})
    ratio = {peer: theirs / max(seconds, 1e-6) for peer, theirs in recorded.items()}
    others = "   ".join(f"{peer} {theirs:g} s, × {ratio[peer]:,.0f}" for peer, theirs in recorded.items())
    print(f"  {name:<24} {1000 * seconds:>9.2f} ms   {others}".rstrip())


if __name__ == "__main__":
    main()
