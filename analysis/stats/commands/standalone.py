"""Compare an AI that rated every case alone with the readers who rated the same cases.

RATINGS.csv has one row per reading: reader,treatment,case,truth,rating; the AI is one of the readers. Differences are
readers − AI.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HELP = "the AI alone against the readers' mean"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratings", metavar="RATINGS.csv")
    parser.add_argument("--ai", required=True, metavar="READER", help="the AI's name in the column reader")
    parser.add_argument("--treatment", help="how the readers read, where the table holds several treatments")
    parser.add_argument("--covariance", default="jackknife", help="jackknife (default), delong or unbiased")
    parser.add_argument(
        "--random",
        default="readers+cases",
        help="what the conclusion holds for: readers+cases (default), cases, readers",
    )
    parser.add_argument("--margin", type=float, help="non-inferiority margin of the AI to the readers, in units of AUC")
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided level, .05 by default")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from analysis.stats.commands.common import read_csv
    from analysis.stats.standalone import standalone

    return standalone(
        _with_numbers(read_csv(args.ratings)),
        args.ai,
        treatment=args.treatment,
        covariance=args.covariance,
        random=args.random.replace("+", "_"),
        alpha=args.alpha,
        margin=args.margin,
    ).to_dict()


def _with_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Truth and rating as numbers where they are; what is no number stays text for the reader of the table to name."""

    def number(text: str) -> object:
        try:
            return float(text) if text else None
        except ValueError:
            return text

    found = frame.copy()
    for column in {"truth", "rating"} & set(frame.columns):
        found[column] = frame[column].map(number).astype(object)
    return found
