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
    from analysis.stats.commands.common import parsed_csv, read_text
    from analysis.stats.options import check_level
    from analysis.stats.reading_time import reading_time

    check_level(args.alpha)
    table = parsed_csv(read_text(args.times), args.times)
    found = reading_time(table, alpha=args.alpha, reader_slope=not args.no_reader_slope)
    printed = found.to_dict()
    printed["fixed_effects"] = {effect["term"]: effect for effect in printed["fixed"]}
    printed["variance_components"] = [
        {"group": group, "variance": variance, "sd": math.sqrt(variance)} for group, variance in found.variances.items()
    ]
    return printed
