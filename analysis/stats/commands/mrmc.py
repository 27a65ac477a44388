"""Compare treatments over readers and cases (MRMC).

RATINGS is a CSV table with the columns reader, treatment, case, truth and rating, or a file in iMRMC's own format.
Prints JSON: auc (each reader's figure of merit under each treatment, whichever was asked for), means, comparisons,
components, method, conventions, warnings, and more.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "compare treatments over readers and cases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratings", metavar="RATINGS", help="CSV (reader,treatment,case,truth,rating) or .imrmc file")
    parser.add_argument("--fom", default="auc", help="auc (default), sensitivity, specificity or partial_auc")
    parser.add_argument("--threshold", type=float, metavar="T", help="a rating of T or more calls a case positive")
    parser.add_argument(
        "--fpr", type=float, nargs=2, metavar=("LO", "HI"), help="false-positive range of a partial AUC"
    )
    parser.add_argument("--tpr", type=float, nargs=2, metavar=("LO", "HI"), help="sensitivity range of a partial AUC")
    parser.add_argument("--standardise", default="none", help="partial AUC: none (default), range or mcclish")
    parser.add_argument(
        "--covariance",
        default="delong",
        help="delong (default), jackknife, unbiased, bootstrap, pairwise or ustat (any design)",
    )
    parser.add_argument("--random", default="readers+cases", help="readers+cases (default), cases or readers")
    parser.add_argument("--margin", type=float, metavar="D", help="test non-inferiority with this margin")
    parser.add_argument("--equivalence", action="store_true", help="test equivalence with the margin too")
    parser.add_argument("--reference", metavar="TREATMENT", help="differences are (other - this)")
    parser.add_argument("--alpha", type=float, default=0.05, metavar="A", help="two-sided level (default 0.05)")
    parser.add_argument("--multiplicity", default="holm", help="holm (default), bonferroni or none")
    parser.add_argument("--truncation", default="none", help="of Cov2-Cov3, cases random: none (default) or truncate")
    parser.add_argument("--df", default="hillis", help="hillis (default) or original (1995)")
    parser.add_argument("--df-rounding", default="none", help="none (default), or floor as iMRMC's Java program")
    parser.add_argument(
        "--ustat-df", default="r", help="U-statistics of unshared readers or cases: r (default) or java"
    )
    parser.add_argument("--replicates", type=int, default=2000, metavar="N", help="bootstrap draws (default 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from analysis.stats.commands.common import read_ratings_file
    from analysis.stats.foms import figure_of_merit
    from analysis.stats.mrmc import analyze, one_class_cells
    from analysis.stats.ratings import LINE, RatingsError, name_of, read_ratings

    frame = read_ratings_file(args.ratings)
    fpr, tpr = (tuple(span) if span is not None else None for span in (args.fpr, args.tpr))
    fom = figure_of_merit(args.fom, threshold=args.threshold, fpr=fpr, tpr=tpr, standardise=args.standardise)
    lacking = one_class_cells(read_ratings(frame), fom)
    if lacking:
        reader, treatment, word = lacking[0]
        own = frame[(frame["reader"].map(name_of) == reader) & (frame["treatment"].map(name_of) == treatment)]
        raise RatingsError(
            f"Reader {reader} rated no {word} case under treatment {treatment} ({len(own)} ratings from {LINE} "
            f"{own.index[0]} of {args.ratings} on); the {fom.short} needs some: add them, or take the reader out."
        )
    result = analyze(
        frame,
        fom=args.fom,
        covariance=args.covariance,
        random=args.random,
        margin=args.margin,
        threshold=args.threshold,
        fpr=fpr,
        tpr=tpr,
        standardise=args.standardise,
        reference=args.reference,
        alpha=args.alpha,
        truncation=args.truncation,
        df=args.df,
        df_rounding=args.df_rounding,
        equivalence=args.equivalence,
        multiplicity=args.multiplicity,
        replicates=args.replicates,
        seed=args.seed,
        ustat_df=args.ustat_df,
    ).to_dict()
    result["warnings"] = [*frame.attrs.get("warnings", ()), *result["warnings"]]
    return result
