"""Compare treatments on free-response marks: wAFROC or AFROC, over readers and cases.

MARKS.csv has one row per mark: reader,treatment,case,truth,mark,lesion,rating (mark LL or NL; lesion 0 for an NL).
TRUTH.csv has one row per lesion: case,truth,lesion,weight (a normal case once, with lesion 0 and weight 0). Cases that
nobody marked stand only there.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "free-response (FROC) comparison of treatments over readers and cases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("marks", metavar="MARKS.csv")
    parser.add_argument("truth", metavar="TRUTH.csv")
    parser.add_argument(
        "--fom", default="wafroc", help="wafroc (default), afroc, wafroc1, afroc1 or hrauc (highest-rating AUC)"
    )
    parser.add_argument("--covariance", default="jackknife", help="jackknife (default), delong or bootstrap")
    parser.add_argument(
        "--random",
        default="readers+cases",
        help="what the conclusion holds for: readers+cases (default), cases, readers",
    )
    parser.add_argument("--margin", type=float, help="non-inferiority margin, in units of the figure of merit")
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided level, .05 by default")
    parser.add_argument("--reference", help="the treatment that the others are compared with")
    parser.add_argument("--bootstraps", type=int, default=2000, help="samples of the bootstrap, 2000 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap, 0 by default")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from analysis.stats.commands.common import read_csv
    from analysis.stats.froc import analyze_froc
    from analysis.stats.marks import marks_per_image, read_marks

    marks, truth = read_csv(args.marks), read_csv(args.truth)
    result = analyze_froc(
        marks,
        truth,
        args.fom,
        args.covariance,
        args.random.replace("+", "_"),
        args.margin,
        reference=args.reference,
        alpha=args.alpha,
        bootstraps=args.bootstraps,
        seed=args.seed,
    )
    counted = marks_per_image(read_marks(marks, truth, weighted=False))
    return {**result.to_dict(), "marks_per_image": [asdict(one) for one in counted]}
