"""Type I error of the comparison of two treatments over the twelve configurations of Roe and Metz.

    .venv/bin/python benchmarks/type_one_error.py [--trials N] [--covariance C ...] [--seed S] [--blocks B] [--power]

Each trial simulates five readers who read 50 diseased and 50 non-diseased cases under two treatments that do not
differ, and tests their difference at .05, readers and cases random. Printed is the share of trials that reject, per
configuration. Targets: the mean over the configurations in [.040, .055], none above .07. With --power the second
treatment's AUC is higher by .05 (.03 at mu 2.5), and the share is printed beside the power that `analysis.stats.power`
predicts from the model's parameters. With --blocks the study is a split-plot of that many blocks of readers and cases,
tested by U-statistics.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import scipy

from analysis.stats.power import power
from analysis.stats.roe_metz import SEPARATIONS, STRUCTURES, RoeMetz, p_values, split_plot

LOWEST, HIGHEST, EACH = 0.040, 0.055, 0.07
READERS, CASES = 5, 50
#: Studies simulated and tested together: keeps memory at some tens of megabytes.
AT_ONCE = 250


def rejected(model: RoeMetz, covariance: str, trials: int, rng: np.random.Generator, blocks: int) -> float:
    count = 0
    for start in range(0, trials, AT_ONCE):
        positives, negatives = model.simulate(
            readers=READERS, diseased=CASES, nondiseased=CASES, trials=min(AT_ONCE, trials - start), seed=rng
        )
        if blocks > 1:
            positives, negatives = split_plot(positives, blocks), split_plot(negatives, blocks)
        count += int((p_values(positives, negatives, covariance=covariance) < 0.05).sum())
    return count / trials


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--covariance", nargs="+", default=["delong"], help="delong, jackknife, unbiased, ustat")
    parser.add_argument("--seed", type=int, default=1997)
    parser.add_argument("--power", action="store_true", help="a difference in AUC in place of none")
    parser.add_argument("--blocks", type=int, default=1, help="blocks of a split-plot; needs --covariance ustat")
    args = parser.parse_args()
    if args.blocks > 1 and args.covariance != ["ustat"]:
        parser.error("a split-plot is tested by --covariance ustat alone")

    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}; {args.trials} trials a configuration, seed {args.seed}"
        + (f", split-plot of {args.blocks} blocks" if args.blocks > 1 else "")
    )
    head = f"{'structure':>9} {'mu':>5} {'AUC':>6}" + "".join(f"{name:>11}" for name in args.covariance)
    print(head + (f"{'predicted':>11}" if args.power else ""))
    began = time.perf_counter()
    rates: dict[str, list[float]] = {name: [] for name in args.covariance}
    predicted: list[float] = []
    for structure in STRUCTURES:
        for mu in SEPARATIONS:
            model = RoeMetz.standard(structure, mu)
            if args.power:
                model = model.with_auc_difference(0.03 if mu > 2 else 0.05)
            line = f"{structure:>9} {mu:>5} {model.auc[0]:>6.3f}"
            for name in args.covariance:
                # Every estimator sees the same ratings.
                rng = np.random.default_rng([args.seed, STRUCTURES.index(structure), SEPARATIONS.index(mu)])
                rates[name].append(rejected(model, name, args.trials, rng, args.blocks))
                line += f"{rates[name][-1]:>11.4f}"
            if args.power:
                found = power(
                    model.planning_components(CASES, CASES),
                    readers=READERS,
                    cases=2 * CASES,
                    difference=model.auc[1] - model.auc[0],
                )
                predicted.append(found.power or 0.0)
                line += f"{predicted[-1]:>11.4f}"
            print(line, flush=True)
    means = {name: float(np.mean(found)) for name, found in rates.items()}
    print(f"{'mean':>22}" + "".join(f"{mean:>11.4f}" for mean in means.values()), end="")
    print(f"{np.mean(predicted):>11.4f}" if args.power else "")
    print(f"{time.perf_counter() - began:.0f} s")
    if args.power:
        return 0
    missed = [name for name, mean in means.items() if not LOWEST <= mean <= HIGHEST or max(rates[name]) > EACH]
    print(f"missed by {', '.join(missed)}" if missed else f"mean in [{LOWEST}, {HIGHEST}], each at most {EACH}: met")
    return bool(missed)


if __name__ == "__main__":
    raise SystemExit(main())
