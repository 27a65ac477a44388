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
    parser.add_argument("--random", default="readers+cases", help="readers+cases (default), cases or readers")
    parser.add_argument("--margin", type=float, metavar="D", help="test non-inferiority with this margin")
    parser.add_argument("--alpha", type=float, default=0.05, metavar="A", help="two-sided level (default 0.05)")
    parser.add_argument("--equivalence", action="store_true", help="test equivalence with the margin too")
    parser.add_argument("--multiplicity", default="holm", help="holm (default), bonferroni or none")
    parser.add_argument(
        "--truncation", default="truncate", help="of Cov2-Cov3, cases random: truncate (default, as RJafroc) or none"
    )
    parser.add_argument("--reference", metavar="TREATMENT", help="differences are (other - this)")
    parser.add_argument("--replicates", type=int, default=2000, metavar="N", help="bootstrap draws (default 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from analysis.stats.commands.common import parsed_csv, read_text
    from analysis.stats.froc import analyze_froc
    from analysis.stats.marks import marks_per_image, read_marks
    from analysis.stats.ratings import RatingsError

    marks, truth = (parsed_csv(read_text(path), path) for path in (args.marks, args.truth))
    result = analyze_froc(
        marks,
        truth,
        args.fom,
        args.covariance,
        args.random,
        args.margin,
        reference=args.reference,
        equivalence=args.equivalence,
        multiplicity=args.multiplicity,
        truncation=args.truncation,
        alpha=args.alpha,
        replicates=args.replicates,
        seed=args.seed,
    )
    if all(cell.auc is None for cell in result.cells):
        raise RatingsError(f"{args.truth}: {result.not_estimable}.")
    counted = marks_per_image(read_marks(marks, truth, weighted=False))
    return {**result.to_dict(), "marks_per_image": [asdict(one) for one in counted]}
