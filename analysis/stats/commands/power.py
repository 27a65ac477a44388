"""The power of a planned study, or the cases or readers it takes.

The variance components come from PILOT.csv (reader,treatment,case,truth,rating, or a file in iMRMC's own format; with
--truth a free-response pilot as the command froc reads it), from --components FILE.json (var, cov1, cov2, cov3, var_tr,
cases; what mrmc prints is taken as well), or from --var, --cov1, --cov2, --cov3, --var-tr and --pilot-cases. Give two
of --readers, --cases and --target-power: the third is computed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.stats.mrmc import Result
    from analysis.stats.power import PlanningComponents

HELP = "power and sample size from a pilot study or published variance components"

_FLAGS = ("var", "cov1", "cov2", "cov3", "var_tr", "pilot_cases")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pilot", nargs="?", metavar="PILOT.csv")
    parser.add_argument("--difference", type=float, required=True, metavar="D", help="true difference to find")
    parser.add_argument("--readers", type=int, metavar="J")
    parser.add_argument("--cases", type=int, metavar="K", help="of both classes together")
    parser.add_argument("--target-power", type=float, metavar="P", help="in place of --cases or of --readers")
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided level, .05 by default")
    parser.add_argument(
        "--random",
        default="readers+cases",
        help="what the conclusion should hold for: readers+cases (default), cases, readers",
    )
    parser.add_argument("--margin", type=float, help="plan for non-inferiority with this margin; D may then be 0")
    parser.add_argument("--covariance", default="jackknife", help="of the pilot: jackknife (default), delong, unbiased")
    parser.add_argument("--fom", help="of the pilot: auc (default), wafroc (default with --truth), …")
    parser.add_argument("--threshold", type=float, metavar="T", help="of a pilot's sensitivity or specificity")
    parser.add_argument("--truth", metavar="TRUTH.csv", help="the lesions of a free-response pilot")
    parser.add_argument("--components", metavar="FILE.json")
    for flag in _FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", type=int if flag == "pilot_cases" else float)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from analysis.stats.power import cases_for, power, readers_for
    from analysis.stats.ratings import RatingsError

    parts, pilot = _components(args)
    how = {
        "difference": args.difference,
        "alpha": args.alpha,
        "random": args.random.replace("+", "_"),
        "margin": args.margin,
    }
    asked = {"--readers": args.readers, "--cases": args.cases, "--target-power": args.target_power}
    if sum(value is not None for value in asked.values()) != 2:
        given = ", ".join(name for name, value in asked.items() if value is not None) or "none"
        raise RatingsError(
            f"Give two of --readers, --cases and --target-power, and the third is computed; given: {given}."
        )
    if args.target_power is None:
        found = power(parts, readers=args.readers, cases=args.cases, **how)
    elif args.cases is None:
        found = cases_for(parts, readers=args.readers, target=args.target_power, **how)
    else:
        found = readers_for(parts, cases=args.cases, target=args.target_power, **how)
    printed = found.to_dict()
    if pilot is not None:
        printed["pilot"] = {
            "method": pilot.method,
            "readers": len(pilot.readers),
            "diseased": pilot.diseased,
            "nondiseased": pilot.nondiseased,
            "warnings": list(pilot.warnings),
        }
    return printed


def _components(args: argparse.Namespace) -> tuple[PlanningComponents, Result | None]:
    from analysis.stats.power import PlanningComponents
    from analysis.stats.ratings import RatingsError

    flags = {flag: getattr(args, flag) for flag in _FLAGS}
    sources = (args.pilot is not None, args.components is not None, any(value is not None for value in flags.values()))
    if sum(sources) != 1:
        raise RatingsError(
            "Give the variance components once: a PILOT.csv, or --components FILE.json, or "
            "--var, --cov1, --cov2, --cov3, --var-tr and --pilot-cases."
        )
    if args.pilot is not None:
        pilot = _analysed(args)
        return PlanningComponents.of_pilot(pilot), pilot
    if args.components is not None:
        return PlanningComponents.of_mapping(_json(args.components)), None
    absent = [f"--{flag.replace('_', '-')}" for flag, value in flags.items() if value is None]
    if absent:
        raise RatingsError(f"The variance components lack {', '.join(absent)}; give all six.")
    return PlanningComponents.of_mapping({**flags, "cases": args.pilot_cases}), None


def _analysed(args: argparse.Namespace) -> Result:
    from analysis.stats.commands.common import parsed_csv, read_ratings_file, read_text

    if args.truth is not None:
        from analysis.stats.froc import analyze_froc

        marks, truth = (parsed_csv(read_text(path), path) for path in (args.pilot, args.truth))
        return analyze_froc(marks, truth, args.fom or "wafroc", args.covariance)
    from analysis.stats.mrmc import analyze

    return analyze(read_ratings_file(args.pilot), args.fom or "auc", args.covariance, threshold=args.threshold)


def _json(path: str) -> dict[str, Any]:
    import json
    from pathlib import Path

    from analysis.stats.ratings import RatingsError

    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RatingsError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RatingsError(f"{path} is not JSON: {error}.") from error
    if not isinstance(given, dict):
        raise RatingsError(f"{path} holds no JSON object; it must name var, cov1, cov2, cov3, var_tr and cases.")
    return given
