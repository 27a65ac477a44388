"""The figures of a result, drawn as SVG from its stored numbers alone; the same numbers give the same bytes.

Axes, colours and the writing of SVG are the library's (:mod:`analysis.stats.plots`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import matplotlib as mpl

from analysis.services.reporting import Numbers, arm_names, capital, fixed, percent
from analysis.stats import plots
from analysis.stats.plots import ARM_COLOURS, ARM_DASHES, BAD, INK, LINE, MUTED, axes, figure_svg


def _arms_in_order(numbers: Numbers) -> list[tuple[str, str, str, str]]:
    """(key, name, colour, dashes), the reference arm first."""
    names, reference = arm_names(numbers), numbers["plan"]["reference_arm"]
    keys = sorted(names, key=lambda key: key != reference)
    return [(k, names[k], ARM_COLOURS[i % 4], ARM_DASHES[i % 4]) for i, k in enumerate(keys)]


_NO_CURVES: Numbers = {"readers": {}, "points": {}, "average": None, "pooled": None}


def roc(numbers: Numbers, endpoint: Numbers) -> bytes:
    """ROC curves per arm: the readers' average thick, each reader thin, pooled operating points as dots."""
    figure, (axis,) = axes(5.4, 5.2)
    axis.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    result = endpoint["result"]
    means = {mean["treatment"]: mean["estimate"] for mean in result["means"]} if result else {}
    for key, name, colour, dashes in _arms_in_order(numbers):
        curves = endpoint["curves"].get(key, _NO_CURVES)
        for own in curves["readers"].values():
            axis.plot(own["fpr"], own["tpr"], color=colour, linewidth=0.8, alpha=0.45, linestyle=dashes)
        if curves["average"] is None:
            continue
        area = means.get(key)
        label = name if area is None or endpoint["fom"] != "auc" else f"{name} (average AUC {fixed(area)})"
        average, pooled = curves["average"], curves["pooled"]
        axis.plot(average["fpr"], average["tpr"], color=colour, linewidth=2.4, linestyle=dashes, label=label)
        axis.plot(pooled["fpr"], pooled["tpr"], "o", color=colour, markersize=4.5, markeredgecolor="white")
        points = list(curves.get("points", {}).values())
        axis.plot(
            [point["fpr"] for point in points], [point["tpr"] for point in points], "D", color=colour, markersize=5,
            markerfacecolor="none",
        )  # fmt: skip
    alone = numbers["standalone"]
    if alone.get("curve") and alone["finding"] == endpoint["finding"]:
        axis.plot(alone["curve"]["fpr"], alone["curve"]["tpr"], ":", color=INK, linewidth=1.6, label="GazeX alone")
        axis.plot([alone["point"]["fpr"]], [alone["point"]["tpr"]], "D", color=INK, markersize=5)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set_xlabel("False-positive fraction (1 − specificity)", color=INK)
    axis.set_ylabel("Sensitivity", color=INK)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", frameon=False, fontsize=9)
    return figure_svg(
        figure, f"ROC curves per arm, {endpoint['label']}: readers’ average, each reader, pooled operating points"
    )


def forest(numbers: Numbers, endpoint: Numbers) -> bytes:
    """Each reader's own AUC difference with its interval, and the readers' average below."""
    result = endpoint["result"]
    reference = numbers["plan"]["reference_arm"]
    names = arm_names(numbers)
    pairs = [c for c in result["comparisons"] if c["treatments"][1] == reference] if result else []
    readers = result["readers"] if result else []
    figure, panels = axes(max(5.4, 4.2 * len(pairs)), 1.5 + 0.3 * (len(readers) + 1), max(1, len(pairs)))
    for axis, pair in zip(panels, pairs, strict=False):
        axis.axvline(0, color=MUTED, linewidth=1)
        own = [d for d in result["reader_differences"] if d["treatments"] == pair["treatments"]]
        for row, change in enumerate(own):
            if change["difference"] is None:
                continue
            if change["lower"] is not None:
                axis.plot([change["lower"], change["upper"]], [row, row], color=MUTED, linewidth=1.2)
            axis.plot([change["difference"]], [row], "s", color=INK, markersize=5)
        bottom = len(own) + 0.3
        if pair["difference"] is not None:
            if pair["ci"] is not None:
                low, high = pair["ci"]
                middle = pair["difference"]
                axis.fill(
                    [low, middle, high, middle], [bottom, bottom - 0.28, bottom, bottom + 0.28], color=ARM_COLOURS[1]
                )
            else:
                axis.plot([pair["difference"]], [bottom], "D", color=ARM_COLOURS[1], markersize=6)
        margin = endpoint["margin"]
        for bound in (
            [] if margin is None else [-margin] + ([margin] if endpoint["hypothesis"] == "equivalence" else [])
        ):
            axis.axvline(bound, color=BAD, linewidth=1, linestyle=":")
            axis.annotate("margin", (bound, -0.7), color=BAD, fontsize=8, ha="center")
        axis.set_yticks([*range(len(own)), bottom], [*[d["reader"] for d in own], "Average"])
        axis.set_ylim(bottom + 0.7, -1)
        axis.grid(axis="y", visible=False)
        first, second = pair["treatments"]
        label = f"{capital(endpoint['fom_words'])}, {names[first]} − {names[second]} ({percent(result['alpha'])})"
        axis.set_xlabel(label, color=INK)
    return figure_svg(figure, f"Difference of each reader and their average, {endpoint['words']}")


def scores(numbers: Numbers, endpoint: Numbers) -> bytes:
    """How often each confidence was given, one panel per arm, with and without the finding."""
    arms = _arms_in_order(numbers)
    figure, panels = axes(max(5.4, 3.4 * len(arms)), 3.0, len(arms))
    highest = 0.0
    for axis, (key, name, _, _) in zip(panels, arms, strict=True):
        for offset, kind, label, colour, hatch in (
            (-0.2, "nondiseased", "finding absent", "#b9c6c6", ""),
            (0.2, "diseased", "finding present", ARM_COLOURS[1], "//"),
        ):
            counts = endpoint["scores"][key][kind] if endpoint["scores"] else [0] * 5
            total = sum(counts) or 1
            shares = [100 * count / total for count in counts]
            highest = max(highest, *shares)
            places = [step + offset for step in range(1, 6)]
            axis.bar(places, shares, width=0.38, color=colour, hatch=hatch, edgecolor="white", label=label)
        axis.set_title(name, fontsize=10, color=INK)
        axis.set_xlabel("Confidence", color=INK)
        axis.set_xticks(range(1, 6))
        axis.grid(axis="x", visible=False)
    for axis in panels:
        axis.set_ylim(0, min(100, highest * 1.15) or 1)
    panels[0].set_ylabel("Share of reads, %", color=INK)
    panels[0].legend(frameon=False, fontsize=9)
    return figure_svg(figure, f"Score distribution per arm, {endpoint['label']}")


def times(numbers: Numbers, endpoint: Numbers) -> bytes:
    """Geometric mean reading time, one line per reader across the arms, all reads thick."""
    arms, time = _arms_in_order(numbers), numbers["time"]
    figure, (axis,) = axes(5.4, 3.4)
    places = range(len(arms))
    for own in time["readers"].values():
        points = [(x, own.get(key)) for x, (key, *_) in zip(places, arms, strict=True) if own.get(key) is not None]
        axis.plot(
            [x for x, _ in points], [y for _, y in points], "o-", color=MUTED, alpha=0.55, linewidth=1, markersize=3
        )
    together = [(x, time["arms"][key]) for x, (key, *_) in zip(places, arms, strict=True) if time["arms"].get(key)]
    if together:
        axis.plot(
            [x for x, _ in together],
            [y for _, y in together],
            "o-",
            color=ARM_COLOURS[1],
            linewidth=2.6,
            markersize=7,
            label="all reads",
        )
        axis.legend(frameon=False, fontsize=9)
    axis.set_xticks(list(places), [name for _, name, *_ in arms])
    axis.set_xlim(-0.4, len(arms) - 0.6)
    axis.set_ylim(bottom=0)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("Geometric mean time, s", color=INK)
    return figure_svg(figure, "Reading time per arm: each reader and all reads")


def smooth(numbers: Numbers, endpoint: Numbers) -> bytes:
    """Proper binormal curves of each arm's pooled ratings, over the pooled empirical points."""
    figure, (axis,) = axes(5.4, 5.2)
    axis.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    found = numbers["smooth"]
    for key, name, colour, dashes in _arms_in_order(numbers):
        own = (found.get("arms") or {}).get(key, {})
        pooled = endpoint["curves"].get(key, _NO_CURVES)["pooled"]
        if pooled:
            axis.plot(pooled["fpr"], pooled["tpr"], "o", color=colour, markersize=4.5, markeredgecolor="white")
        if own.get("pooled"):
            axis.plot(
                own["pooled"]["fpr"], own["pooled"]["tpr"], color=colour, linewidth=2.4, linestyle=dashes, label=name
            )
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set_xlabel("False-positive fraction (1 − specificity)", color=INK)
    axis.set_ylabel("Sensitivity", color=INK)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", frameon=False, fontsize=9)
    else:
        axis.text(0.5, 0.5, "not estimable", color=MUTED, ha="center")
    return figure_svg(figure, f"Smooth ROC curves per arm, {endpoint['label']}")


def subgroups(numbers: Numbers, endpoint: Numbers) -> bytes:
    """The difference within each subgroup with its interval, one row a level, over the difference of all cases."""
    names, reference = arm_names(numbers), numbers["plan"]["reference_arm"]
    several = len(numbers["arms"]) > 2
    rows = [(row, change) for row in numbers["subgroups"]["rows"] for change in (row["comparisons"] or [None])]
    figure, (axis,) = axes(5.4, 1.1 + 0.28 * max(1, len(rows)))
    result = endpoint["result"]
    compared = result["comparisons"] if result else []
    overall = [c["difference"] for c in compared if c["treatments"][1] == reference and c["difference"] is not None]
    axis.axvline(0, color=MUTED, linewidth=1)
    for place, difference in enumerate(overall, start=1):
        axis.axvline(difference, color=ARM_COLOURS[place % 4], linewidth=1, linestyle="--")
    labels = []
    for place, (row, change) in enumerate(rows):
        of = f", {names[change['treatments'][0]]}" if several and change is not None else ""
        labels.append(f"{row['level']}{of} ({row['cases']})")
        if change is None or change["difference"] is None:
            axis.text(0, place, " not estimable", color=MUTED, fontsize=8, va="center")
            continue
        if change["ci"] is not None:
            axis.plot(change["ci"], [place, place], color=MUTED, linewidth=1.2)
        axis.plot([change["difference"]], [place], "s", color=INK, markersize=5)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"Difference in {endpoint['words']} ({percent(numbers['plan']['alpha'])})", color=INK)
    return figure_svg(figure, f"Difference within subgroups of cases, {endpoint['words']}")


#: Rates of the reliance figure, from top to bottom: name, words.
_RATES = (
    ("over_reliance", "took wrong advice\n(own answer right)"),
    ("under_reliance", "rejected right advice\n(own answer wrong)"),
    ("commission", "commission\n(false positive advice)"),
    ("omission", "omission\n(false negative advice)"),
)


def reliance(numbers: Numbers, endpoint: Numbers) -> bytes:
    """Each reader's own change in accuracy, harm in red; and how often advice was taken against what was right."""
    arms, names = numbers["reliance"].get("arms") or {}, arm_names(numbers)
    known = {names[key]: own["all"] for key, own in arms.items() if not own["not_estimable"]}
    changes = [
        (f"{change['reader']}, {name}" if len(arms) > 1 else change["reader"], change)
        for name, every in known.items()
        for change in every["reader_changes"]
        if change["measure"] == "accuracy"
    ]
    rates = [
        (f"{words}, {name}" if len(arms) > 1 else words, every["rates"][rate])
        for rate, words in _RATES
        for name, every in known.items()
    ]
    figure, (left, right) = axes(8.6, max(2.6, 1.2 + max(0.28 * len(changes), 0.35 * len(rates))), 2)
    left.axvline(0, color=MUTED, linewidth=1)
    for place, (_, change) in enumerate(changes):
        if change["change"] is None:
            left.text(0, place, " not estimable", color=MUTED, fontsize=8, va="center")
            continue
        colour = BAD if change["change"] < 0 else ARM_COLOURS[1]
        if change["lower"] is not None:
            left.plot([change["lower"], change["upper"]], [place, place], color=colour, linewidth=1.2)
        left.plot([change["change"]], [place], "v" if change["change"] < 0 else "s", color=colour, markersize=6)
    left.set_yticks(range(len(changes)), [label for label, _ in changes])
    left.set_ylim(len(changes) - 0.4, -0.6)
    left.set_xlabel("Change in the share of right decisions", color=INK)
    for place, (_, rate) in enumerate(rates):
        if rate["estimate"] is None:
            right.text(0, place, " not estimable", color=MUTED, fontsize=8, va="center")
            continue
        if rate["lower"] is not None:
            right.plot([rate["lower"], rate["upper"]], [place, place], color=MUTED, linewidth=1.2)
        right.plot([rate["estimate"]], [place], "s", color=INK, markersize=5)
    right.set_yticks(range(len(rates)), [label for label, _ in rates])
    right.set_ylim(len(rates) - 0.4, -0.6)
    right.set_xlim(-0.02, 1.02)
    right.set_xlabel("Share of such reads", color=INK)
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    return figure_svg(figure, "Each reader’s change in accuracy, and rates of reliance on GazeX")


def gaze(numbers: Numbers, endpoint: Numbers) -> bytes:
    """Heat maps of gaze, one panel an arm and one for GazeX's inspection path; each has a scale of its own."""
    maps = numbers["gaze"].get("heat_maps") or {"arms": {}, "model": None}
    panels = {name: maps["arms"].get(key) for key, name, *_ in _arms_in_order(numbers)}
    panels["GazeX’s inspection"] = maps["model"]
    figure = plots.heatmap(panels, unit="looking, each map on a scale of its own")
    return figure_svg(figure, "Heat maps of gaze per arm, and of GazeX’s inspection path")


@dataclass
class _Group:
    """A bin of a stored calibration, as the library's diagram takes it."""

    predicted: float
    observed: float
    count: int
    lower: float | None
    upper: float | None


def calibration(numbers: Numbers, endpoint: Numbers) -> bytes:
    """The reliability diagram of every arm, and of GazeX's probabilities."""
    found = numbers["calibration"]
    stored = {name: (found.get("arms") or {}).get(key) for key, name, *_ in _arms_in_order(numbers)}
    stored["GazeX alone"] = found.get("model")
    groups: dict[str, list[_Group]] = {
        name: [
            _Group(one["mean_probability"], one["observed"], one["n"], one["lower"], one["upper"])
            for one in own["bins"]
        ]
        for name, own in stored.items()
        if own
    }
    figure = plots.calibration(groups or {"not estimable": []})
    return figure_svg(figure, "Reliability of confidence per arm")


Draw = Callable[[Numbers, Any], bytes]


def _as_text(draw: Draw) -> Draw:
    """The figure with every name printed as it is written: a dollar sign begins no formula."""

    @wraps(draw)
    def drawn(numbers: Numbers, endpoint: Any) -> bytes:
        with mpl.rc_context({"text.parse_math": False}):
            return draw(numbers, endpoint)

    return drawn


#: Figures by the name in their address.
FIGURES: dict[str, Draw] = {
    draw.__name__: _as_text(draw)
    for draw in (roc, forest, scores, times, smooth, subgroups, reliance, gaze, calibration)
}
