"""Reading time with and without assistance: a linear mixed model on log seconds, REML, Satterthwaite df.

TIMES.csv has the columns reader, case, assisted (0 or 1), period (1, 2, …) and seconds, one row per reading.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

HELP = "reading time by a mixed model on log seconds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("times", metavar="TIMES.csv", help="columns reader,case,assisted,period,seconds")
    parser.add_argument(
        "--no-reader-slope",
        action="store_true",
        help="let assistance act on every reader alike (intervals are too narrow where it does not)",
    )
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided level of the intervals (0.05)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from analysis.stats.commands.common import read_csv
    from analysis.stats.ratings import RatingsError
    from analysis.stats.reading_time import reading_time

    if not 0 < args.alpha < 1:
        raise RatingsError(f"alpha is {args.alpha}; it must be between 0 and 1.")
    found = reading_time(read_csv(args.times), alpha=args.alpha, reader_slope=not args.no_reader_slope)
    printed = found.to_dict()
    printed["variance_components"] = [
        {"group": group, "variance": variance, "sd": math.sqrt(variance)} for group, variance in found.variances.items()
    ]
    return printed
