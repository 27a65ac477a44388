"""What the numbers of a result mean, in sentences and in the rows a page shows. It computes nothing new."""

from __future__ import annotations

from typing import Any

from . import plan_body

Numbers = dict[str, Any]


def readable(numbers: Numbers) -> Numbers:
    """The numbers in today's shape, whenever they were made.

    A result of schema gazeroom.analysis/1 had AUC and reading time only. What it does not hold says so in its place;
    nothing is computed for it.
    """
    if numbers.get("schema") != "gazeroom.analysis/1":
        return numbers
    plan = plan_body.complete(numbers["plan"])
    absent = "not part of this result, which an earlier version made; run the analysis again"
    endpoints = []
    for found, planned in zip(numbers["endpoints"], plan["endpoints"], strict=True):
        result = found["result"]
        verdicts = []
        for comparison in result["comparisons"] if result else []:
            if comparison["treatments"][1] != plan["reference_arm"]:
                continue
            inferior, margin = comparison["noninferiority"], planned["margin"]
            verdicts.append(
                {
                    "arm": comparison["treatments"][0],
                    "hypothesis": planned["hypothesis"],
                    "margin": margin,
                    "p": comparison["p"] if margin is None else (inferior or {}).get("p"),
                    "shown": None if margin is None else (inferior or {}).get("shown"),
                    "not_estimable": comparison["not_estimable"],
                }
            )
        endpoints.append(
            {
                **found,
                "finding": found["key"],
                "fom": "auc",
                "fom_words": plan_body.FOMS["auc"],
                "words": f"AUC for {found['label']}",
                "hypothesis": planned["hypothesis"],
                "margin": planned["margin"],
                "verdicts": verdicts,
            }
        )
    deviations = []
    for arm in numbers["arms"]:
        shown, reads = numbers["shown"][arm["key"]]
        if arm["assistance"] == "none" and shown:
            deviations.append(f"GazeX was shown in {shown} of {reads} reads of the unassisted arm “{arm['name']}”.")
        if arm["assistance"] == "concurrent" and shown < reads:
            deviations.append(f"GazeX was shown in only {shown} of {reads} reads of the arm “{arm['name']}”.")
    conduct = {
        "not_estimable": "", "shown": numbers["shown"], "flow": [], "exclusions": [], "withdrawn": [],
        "deviations": deviations, "recordings": {},
    }  # fmt: skip
    return {
        **numbers,
        "plan": plan,
        "endpoints": endpoints,
        "multiplicity": {"rule": "none", "rows": []},
        "subgroups": {"not_estimable": absent, "rows": []},
        "conduct": conduct,
        **{name: {"not_estimable": absent} for name in OUTCOMES},
    }


#: The parts of a result beside its endpoints, in the order of a report.
OUTCOMES = ("reliance", "standalone", "smooth", "calibration", "agreement", "gaze", "text")


def fixed(value: Any, places: int = 3) -> str:
    """A number as a page prints it, with a true minus sign; "–" where there is none."""
    if value is None:
        return "–"
    if value == "infinite":
        return "∞"
    text = f"{float(value):.{places}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def p_value(value: Any) -> str:
    """ "p = 0.012" or "p < 0.001"."""
    if value is None:
        return "p not estimable"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def percent(alpha: float) -> str:
    """The name of an interval: "95 % CI"."""
    return f"{100 * (1 - alpha):g} % CI"


def capital(text: str) -> str:
    """The first letter large, but "wAFROC" and "mIoU of …" as they are."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.islower() else text


def arm_names(numbers: Numbers) -> dict[str, str]:
    return {arm["key"]: arm["name"] for arm in numbers["arms"]}


def _arm_phrases(numbers: Numbers) -> dict[str, tuple[str, str]]:
    """Per arm how a sentence begins with it and how it refers to it: ("With GazeX", "with it")."""
    arms = numbers["arms"]
    plain = [arm for arm in arms if arm["assistance"] == "none"]
    aided = [arm for arm in arms if arm["assistance"] != "none"]
    if len(plain) == len(aided) == 1:
        return {plain[0]["key"]: ("Without GazeX", "without it"), aided[0]["key"]: ("With GazeX", "with it")}
    return {arm["key"]: (f"In the arm “{arm['name']}”", f"in the arm “{arm['name']}”") for arm in arms}


def endpoint_sentences(numbers: Numbers, endpoint: Numbers) -> list[str]:
    """One sentence for each comparison of the endpoint with the reference arm, and one for what it was to show."""
    if endpoint["fom"] == "time":
        return time_sentences(numbers)
    result = endpoint["result"]
    if result is None:
        return [f"The comparison on {endpoint['words']} could not be made: {endpoint['error'].rstrip('.')}."]
    phrases, names = _arm_phrases(numbers), arm_names(numbers)
    reference = numbers["plan"]["reference_arm"]
    means = {mean["treatment"]: mean for mean in result["means"]}
    said = []
    for comparison in result["comparisons"]:
        first, second = comparison["treatments"]
        if second != reference:
            continue
        start, _ = phrases[first]
        _, other = phrases[second]
        if means[first]["estimate"] is None:
            said.append(f"The difference between the arms in {endpoint['words']} is {comparison['not_estimable']}.")
            continue
        sentence = (
            f"{start} the readers’ average {endpoint['words']} was {fixed(means[first]['estimate'])}; "
            f"{other} {fixed(means[second]['estimate'])}; difference {fixed(comparison['difference'])}"
        )
        if comparison["ci"] is None:
            sentence += f". Whether that is more than chance is {comparison['not_estimable']}."
        else:
            low, high = comparison["ci"]
            sentence += f" ({percent(result['alpha'])} {fixed(low)} to {fixed(high)}, {p_value(comparison['p'])})."
        said.append(sentence)
        verdict = next((v for v in endpoint["verdicts"] if v["arm"] == first), None)
        if verdict is not None and verdict["hypothesis"] != "superiority" and verdict["p"] is not None:
            word = {"noninferiority": "Non-inferiority", "equivalence": "Equivalence"}[verdict["hypothesis"]]
            said.append(
                f"{word} of the arm “{names[first]}” with a margin of {verdict['margin']:g} "
                f"{'was shown' if verdict['shown'] else 'was not shown'} "
                f"(one-sided {p_value(verdict['p'])}, against {result['alpha'] / 2:g})."
            )
    if endpoint["primary"] and len(endpoint["verdicts"]) > 1:
        said.append(f"These {len(endpoint['verdicts'])} comparisons are not adjusted for their number.")
    if not result["comparisons"]:
        said.append("There is one arm only; nothing can be compared.")
    return said


def time_sentences(numbers: Numbers) -> list[str]:
    """One sentence for each arm's reading time against the reference arm's."""
    phrases, time = _arm_phrases(numbers), numbers["time"]
    reference = numbers["plan"]["reference_arm"]
    if time.get("not_estimable"):
        return [f"The comparison of reading times is {time['not_estimable']}."]
    said = []
    for key, model in time["models"].items():
        start, other = phrases[key][0], phrases[reference][1]
        mine, theirs = time["arms"].get(key), time["arms"].get(reference)
        if mine is None or theirs is None:
            said.append(f"{start}: the ratio of reading times is {model['not_estimable']}.")
            continue
        sentence = f"{start} a read took {fixed(mine, 1)} s (geometric mean); {other} {fixed(theirs, 1)} s"
        if model["ratio"] is None:
            sentence += f". The ratio is {model['not_estimable']}."
        else:
            low, high = model["ratio_lower"], model["ratio_upper"]
            sentence += (
                f"; ratio {fixed(model['ratio'], 2)} ({percent(model['alpha'])} {fixed(low, 2)} to {fixed(high, 2)})."
            )
        said.append(sentence)
    return said


def sentences(numbers: Numbers) -> list[str]:
    """The result in plain words: the primary endpoint, then reading time; first of all, whether readers were real."""
    said = []
    if numbers["study"]["simulated"]:
        said.append("The readers of this study are simulated; its numbers say nothing about people.")
    said += endpoint_sentences(numbers, primary(numbers))
    return said + time_sentences(numbers)


def primary(numbers: Numbers) -> Numbers:
    found: Numbers = next(endpoint for endpoint in numbers["endpoints"] if endpoint["primary"])
    return found


def endpoint_named(numbers: Numbers, key: str | None) -> Numbers | None:
    """The endpoint asked for, the primary one when none is asked for, None when there is no such."""
    if key is None:
        return primary(numbers)
    return next((endpoint for endpoint in numbers["endpoints"] if endpoint["key"] == key), None)


def deviations(numbers: Numbers) -> list[str]:
    """What went otherwise than the protocol says, as far as it is stored."""
    if numbers["conduct"].get("not_estimable"):
        return [f"Deviations are {numbers['conduct']['not_estimable']}."]
    found: list[str] = numbers["conduct"]["deviations"]
    return found


def summary_rows(numbers: Numbers) -> list[Numbers]:
    """One row per endpoint and arm that is compared with the reference arm: averages, difference, adjusted p-value.

    ``of`` names the arm where there are several; an endpoint that could not be compared has one row, with ``why``.
    """
    keys, names = [arm["key"] for arm in numbers["arms"]], arm_names(numbers)
    others = [key for key in keys if key != numbers["plan"]["reference_arm"]]
    adjusted = {(row["key"], row["arm"]): row for row in numbers["multiplicity"]["rows"]}
    rows = []
    for endpoint in numbers["endpoints"]:
        if endpoint["fom"] == "time":
            means = numbers["time"]["arms"]
            compared = _time_comparisons(numbers)
        else:
            result = endpoint["result"]
            means = {mean["treatment"]: mean["estimate"] for mean in result["means"]} if result else {}
            compared = {
                found["treatments"][0]: (found, "")
                for found in (result["comparisons"] if result else [])
                if found["treatments"][1] == numbers["plan"]["reference_arm"]
            }
        missing = endpoint["error"] or (endpoint["result"] or {}).get("not_estimable", "")
        for arm in [key for key in others if key in compared] or [""]:
            comparison, why = compared.get(arm, (None, ""))
            rows.append(
                {
                    "endpoint": endpoint,
                    "of": names[arm] if arm and len(others) > 1 else "",
                    "means": [means.get(key) for key in keys],
                    "comparison": comparison,
                    "why": missing or why,
                    "adjusted": adjusted.get((endpoint["key"], arm)),
                }
            )
    return rows


def _time_comparisons(numbers: Numbers) -> dict[str, tuple[Numbers | None, str]]:
    """Per arm the ratio of reading times as a comparison, or None and why."""
    found: dict[str, tuple[Numbers | None, str]] = {}
    for arm, model in numbers["time"]["models"].items():
        if model["ratio"] is None:
            found[arm] = (None, model["not_estimable"])
            continue
        effect = next(effect for effect in model["fixed"] if effect["term"] == "assisted")
        ends = [model["ratio_lower"], model["ratio_upper"]]
        found[arm] = ({"difference": model["ratio"], "ci": ends, "p": effect["p"]}, "")
    return found


def reader_rows(numbers: Numbers, endpoint: Numbers) -> list[Numbers]:
    """One row per reader: the AUC in every arm and the reader's own change in each comparison with the reference."""
    result = endpoint["result"]
    if result is None:
        return []
    reference = numbers["plan"]["reference_arm"]
    cells = {(cell["reader"], cell["treatment"]): cell for cell in result["cells"]}
    changes = endpoint["changes"]
    rows = []
    for reader in result["readers"]:
        own = [
            change
            for change in result["reader_differences"]
            if change["reader"] == reader and change["treatments"][1] == reference
        ]
        flips = [changes[key]["readers"].get(reader) for key in changes]
        rows.append(
            {
                "reader": reader,
                "cells": [cells.get((reader, arm["key"])) for arm in numbers["arms"]],
                "differences": own,
                "flips": flips[0] if len(flips) == 1 else None,
            }
        )
    return rows


def score_rows(numbers: Numbers, endpoint: Numbers) -> list[Numbers]:
    """The score distribution as rows: arm, truth, counts of confidence 1–5."""
    names = arm_names(numbers)
    return [
        {"arm": names[key], "truth": truth, "counts": scores[kind], "total": sum(scores[kind])}
        for key, scores in endpoint["scores"].items()
        for kind, truth in (("diseased", "finding present"), ("nondiseased", "finding absent"))
    ]


def time_rows(numbers: Numbers) -> list[Numbers]:
    """Geometric mean seconds per reader, one column per arm; the last row is over all reads."""
    keys = [arm["key"] for arm in numbers["arms"]]
    time = numbers["time"]
    rows = [{"reader": name, "arms": [own.get(key) for key in keys]} for name, own in time["readers"].items()]
    rows.append({"reader": "All reads", "arms": [time["arms"].get(key) for key in keys]})
    return rows


def endpoint_words(endpoint: Numbers) -> str:
    """ "AUC for any finding", "reading time": of a plan's endpoint."""
    fom = plan_body.FOMS[endpoint["fom"]]
    label = "any finding" if endpoint["finding"] == plan_body.ANY else endpoint["finding"]
    return fom if endpoint["fom"] == "time" else f"{fom} for {label}"


def plan_words(body: Numbers, arms: dict[str, str]) -> list[tuple[str, str]]:
    """A complete plan as terms and words."""
    primary, *secondary = body["endpoints"]
    hypothesis = plan_body.HYPOTHESES[primary["hypothesis"]]
    if primary["margin"] is not None:
        hypothesis += f" with a margin of {primary['margin']:g}"
    adjustment = plan_body.MULTIPLICITY[body["multiplicity"]]
    listed = ", ".join(endpoint_words(found) for found in secondary) or "none"
    return [
        ("Primary endpoint", f"{endpoint_words(primary)}, {hypothesis}"),
        ("Secondary endpoints", listed + (f" ({adjustment})" if secondary else "")),
        ("Method", f"{plan_body.COVARIANCES[body['covariance']]} covariances"),
        ("Holds for", plan_body.RANDOM[body["random"]]),
        ("Reference arm", str(arms.get(body["reference_arm"], body["reference_arm"]))),
        ("Alpha", f"{body['alpha']:g}, two-sided"),
        ("Called present from", f"confidence {body['threshold']}"),
        ("Subgroups", ", ".join(plan_body.SUBGROUPS[name] for name in body["subgroups"]) or "none"),
        ("Missing reads", plan_body.MISSING[body["missing"]]),
    ]
