"""Compare an AI that rated every case alone with the readers who rated the same cases.

RATINGS is a CSV table with the columns reader, treatment, case, truth and rating, or a file in iMRMC's own format; the
AI is one of the readers. Differences are readers - AI.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "the AI alone against the readers' mean"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratings", metavar="RATINGS", help="CSV (reader,treatment,case,truth,rating) or .imrmc file")
    parser.add_argument("--ai", required=True, metavar="READER", help="the AI's name in the column reader")
    parser.add_argument("--treatment", help="how the readers read, where the table holds several treatments")
    parser.add_argument("--covariance", default="jackknife", help="jackknife (default), delong or unbiased")
    parser.add_argument("--random", default="readers+cases", help="readers+cases (default), cases or readers")
    parser.add_argument("--margin", type=float, metavar="D", help="test non-inferiority of the AI to the readers' mean")
    parser.add_argument("--alpha", type=float, default=0.05, metavar="A", help="two-sided level (default 0.05)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from analysis.stats.commands.common import read_ratings_file
    from analysis.stats.standalone import standalone

    frame = read_ratings_file(args.ratings)
    result = standalone(
        frame,
        args.ai,
        treatment=args.treatment,
        covariance=args.covariance,
        random=args.random,
        alpha=args.alpha,
        margin=args.margin,
    ).to_dict()
    result["warnings"] = [*frame.attrs.get("warnings", ()), *result["warnings"]]
    return result
