"""What the numbers of a result mean, in sentences and in the rows a page shows. It computes nothing new."""

from __future__ import annotations

from typing import Any

Numbers = dict[str, Any]


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
    """One sentence for each comparison of the endpoint with the reference arm."""
    result = endpoint["result"]
    if result is None:
        return [f"The comparison on {endpoint['label']} could not be made: {endpoint['error']}"]
    phrases = _arm_phrases(numbers)
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
            said.append(
                f"The difference between the arms in AUC for {endpoint['label']} is {comparison['not_estimable']}."
            )
            continue
        sentence = (
            f"{start} the readers’ average AUC for {endpoint['label']} was {fixed(means[first]['estimate'])}; "
            f"{other} {fixed(means[second]['estimate'])}; difference {fixed(comparison['difference'])}"
        )
        if comparison["ci"] is None:
            sentence += f". Whether that is more than chance is {comparison['not_estimable']}."
        else:
            low, high = comparison["ci"]
            sentence += f" ({percent(result['alpha'])} {fixed(low)} to {fixed(high)}, {p_value(comparison['p'])})."
        said.append(sentence)
        found = comparison["noninferiority"]
        if found is not None and found["p"] is not None:
            verdict = "was shown" if found["shown"] else "was not shown"
            said.append(
                f"Non-inferiority with a margin of {found['margin']:g} {verdict} (one-sided {p_value(found['p'])})."
            )
    if not result["comparisons"]:
        said.append("There is one arm only; nothing can be compared.")
    return said


def time_sentences(numbers: Numbers) -> list[str]:
    """One sentence for each arm's reading time against the reference arm's."""
    phrases, time = _arm_phrases(numbers), numbers["time"]
    reference = numbers["plan"]["reference_arm"]
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
    """What went otherwise than the protocol says, as far as the stored counts show it."""
    said = []
    for arm in numbers["arms"]:
        shown, reads = numbers["shown"][arm["key"]]
        if arm["assistance"] == "none" and shown:
            said.append(f"GazeX was shown in {shown} of {reads} reads of the unassisted arm “{arm['name']}”.")
        if arm["assistance"] == "concurrent" and shown < reads:
            said.append(f"GazeX was shown in only {shown} of {reads} reads of the arm “{arm['name']}”.")
    return said


def summary_rows(numbers: Numbers) -> list[Numbers]:
    """One row per endpoint: the average AUC of every arm and the first comparison with the reference."""
    keys = [arm["key"] for arm in numbers["arms"]]
    reference = numbers["plan"]["reference_arm"]
    rows = []
    for endpoint in numbers["endpoints"]:
        result = endpoint["result"]
        means = {mean["treatment"]: mean["estimate"] for mean in result["means"]} if result else {}
        comparisons = [c for c in result["comparisons"] if c["treatments"][1] == reference] if result else []
        rows.append(
            {
                "endpoint": endpoint,
                "means": [means.get(key) for key in keys],
                "comparison": comparisons[0] if comparisons else None,
                "why": endpoint["error"] or (result["not_estimable"] if result else ""),
            }
        )
    return rows


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
