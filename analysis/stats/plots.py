"""The library's figures: each function takes results and returns a matplotlib Figure; :func:`figure_svg` writes it.

No pyplot and no global settings, so that requests and threads do not share a current figure. The same numbers give the
same bytes. Text stays text: a person can select it, and a screen reader reads the title. Arms differ by colour (apart
for the colour-blind as well), by line and by marker. What could not be estimated is written where its mark would stand.

This module imports matplotlib, which takes a second; nothing else of :mod:`analysis.stats` imports this one at the top.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from analysis.stats.curves import Curve, OperatingPoint, Proportion, ScoreDistribution, average_roc
from analysis.stats.ratings import RatingsError

if TYPE_CHECKING:
    from analysis.stats.results import Comparison, Result

#: Ink of words and marks, of axes, and of the grid; and of what warns (a margin).
INK, MUTED, LINE, BAD = "#1b2527", "#5b6a6d", "#dbe3e3", "#9a2318"
#: One colour, line and marker per arm, in the order of the arms: told apart without colour as well.
ARM_COLOURS = ("#8a5a00", "#0f6b66", "#6a4c93", "#9a2318")
ARM_DASHES = ("--", "-", "-.", ":")
ARM_MARKERS = ("o", "s", "^", "D")
#: Cases without and with the finding.
ABSENT, PRESENT = "#b9c6c6", "#0f6b66"

#: Words for the figures of merit, as an axis names them.
_FOM_WORDS = {
    "auc": "AUC",
    "wafroc": "wAFROC",
    "afroc": "AFROC",
    "pauc": "partial AUC",
    "pcl": "probability of correct localisation",
    "alroc": "area under the LROC curve",
}
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "gazeroom"}


class HasPoints(Protocol):
    """A group of predictions in a reliability diagram."""

    predicted: float
    observed: float
    count: int


def axes(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of ``width`` by ``height`` inches with a row of axes in the house's look; ``options`` go to subplots."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    row: list[Axes] = figure.subplots(1, columns, squeeze=False, **options)[0].tolist()
    for axis in row:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(MUTED)
        axis.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
        axis.grid(color=LINE, linewidth=0.7)
        axis.set_axisbelow(True)
    return figure, row


def figure_svg(figure: Figure, title: str, description: str = "") -> bytes:
    """The figure as SVG, the same bytes for the same figure; ``title`` is what a screen reader says.

    Its text is set in DejaVu Sans where that font is at hand (a browser falls back to its own sans-serif).
    """
    metadata = {"Title": title, "Date": None, "Creator": None}
    if description:
        metadata["Description"] = description
    out = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(out, format="svg", metadata=metadata)
    return out.getvalue()


def roc(
    curves: Mapping[str, Curve | Sequence[Curve]],
    *,
    fits: Mapping[str, Any] | None = None,
    operating_points: Mapping[str, OperatingPoint | Sequence[OperatingPoint]] | None = None,
    areas: Mapping[str, float | None] | None = None,
) -> Figure:
    """ROC curves by arm.

    Args:
        curves: per arm one curve, or its readers' curves: then each is thin and their vertical average thick.
        fits: per arm a fitted curve (with ``curve()`` and ``not_estimable``) or a Curve: drawn smooth over the
            empirical one, which turns pale. An arm whose fit is not estimable says so in the legend.
        operating_points: per arm, drawn with their intervals in both directions.
        areas: per arm, named in the legend beside the arm.
    """
    _some(curves, "curves")
    figure, (axis,) = axes(5.4, 5.4)
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)))
    for place, (arm, given) in enumerate(curves.items()):
        colour, dashes, marker = _arm(place)
        several = not isinstance(given, Curve)
        own: Sequence[Curve] = given if not isinstance(given, Curve) else [given]
        smooth, note = _smooth(fits, arm)
        area = (areas or {}).get(arm)
        label = arm + ("" if area is None else f" (area {area:.3f})") + note
        if several:
            for curve in own:
                axis.plot(curve.fpr, curve.tpr, color=colour, linewidth=0.8, alpha=0.4, linestyle=dashes)
        whole = average_roc(own) if several else own[0]
        if smooth is None:
            axis.plot(whole.fpr, whole.tpr, color=colour, linewidth=2.2, linestyle=dashes, label=_wrapped(label, 40))
        else:
            axis.plot(whole.fpr, whole.tpr, color=colour, linewidth=0.9, alpha=0.55)
            axis.plot(smooth.fpr, smooth.tpr, color=colour, linewidth=2.2, linestyle=dashes, label=_wrapped(label, 40))
        for point in _several((operating_points or {}).get(arm)):
            _cross(axis, point, colour, marker)
    _unit_square(axis)
    axis.set_xlabel("False-positive fraction (1 − specificity)", color=INK)
    axis.set_ylabel("Sensitivity", color=INK)
    axis.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, handlelength=2.8)
    return figure


def froc(curves: Mapping[str, Any], *, x_label: str | None = None, y_label: str | None = None) -> Figure:
    """Curves of free-response marks by arm (FROC, AFROC, wAFROC), from the highest rating down.

    Args:
        curves: per arm one curve or the list of its readers' curves (all thin); each a
            :class:`analysis.stats.marks.MarkCurve` or a pair ``(x, y)``, ``[m]`` each, taken for a FROC curve.
        x_label, y_label: the axes' names; by default those of the curves' kind.

    Raises:
        RatingsError: there are no curves, or they are of several kinds.
    """
    _some(curves, "curves")
    lines = {
        arm: [given] if isinstance(given, tuple) or hasattr(given, "kind") else list(given)
        for arm, given in curves.items()
    }
    kinds = {getattr(line, "kind", "froc") for own in lines.values() for line in own}
    if len(kinds) > 1:
        raise RatingsError(f"The curves are of several kinds ({', '.join(sorted(kinds))}); draw each kind for itself.")
    free = kinds <= {"froc"}
    weighted = " (weighted within each case)" if "wafroc" in kinds else ""
    figure, (axis,) = axes(5.4, 4.6)
    widest = 0.0 if free else 1.0
    for place, (arm, own) in enumerate(lines.items()):
        colour, dashes, _ = _arm(place)
        width, opacity = (1.1, 0.7) if len(own) > 1 else (2.2, 1.0)
        for number, line in enumerate(own):
            x, y = line if isinstance(line, tuple) else (line.x, line.y)
            along, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
            widest = max(widest, float(along.max(initial=0.0)))
            label = _wrapped(arm, 40) if number == 0 else None
            axis.plot(along, up, color=colour, linestyle=dashes, linewidth=width, alpha=opacity, label=label)
    axis.set(xlim=(-0.01 * (widest or 1), (widest or 1) * 1.03), ylim=(-0.01, 1.02))
    axis.set_xlabel(
        x_label or ("Non-lesion marks per case" if free else "Share of normal cases with a mark"), color=INK
    )
    axis.set_ylabel(y_label or f"Share of lesions marked{weighted}", color=INK)
    axis.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, handlelength=2.8)
    return figure


def forest(result: Result, pair: tuple[str, str] | None = None) -> Figure:
    """Each reader's own change with its interval, the readers' average as a diamond, and the margin as a line.

    A panel per comparison. A reader's mark has the colour and shape of the arm that it favours, so a reader whom an arm
    harms is seen as one. Beside each row stands what is drawn.

    Args:
        result: of any of the library's comparisons.
        pair: draw this comparison only.

    Raises:
        RatingsError: the result has no comparison, or not this one.
    """
    shown = [one for one in result.comparisons if pair is None or one.treatments == pair]
    if not shown:
        asked = "" if pair is None else f" of {pair[0]} and {pair[1]}"
        raise RatingsError(f"The result has no comparison{asked}; a forest plot needs two treatments.")
    readers = result.readers
    figure, row = axes(6.6 * len(shown), 1.75 + 0.3 * (len(readers) + 1), len(shown))
    for axis, found in zip(row, shown, strict=True):
        _forest(axis, result, found)
    return figure


def _forest(axis: Axes, result: Result, found: Comparison) -> None:
    first, second = found.treatments
    colour_of = {name: _arm(result.treatments.index(name)) for name in found.treatments}
    own = [one for one in result.reader_differences if one.treatments == found.treatments]
    axis.axvline(0, color=MUTED, linewidth=1)
    labels, notes = [], []
    for place, change in enumerate(own):
        labels.append(_wrapped(change.reader, 24))
        notes.append(_interval(change.difference, change.lower, change.upper))
        if change.difference is None:
            continue
        favours = first if change.difference > 0 else second
        colour, _, marker = colour_of[favours] if change.difference else (MUTED, "", "|")
        if change.lower is not None and change.upper is not None:
            axis.plot([change.lower, change.upper], [place, place], color=colour, linewidth=1.4)
        axis.plot([change.difference], [place], marker, color=colour, markersize=5.5)
    bottom = len(own) + 0.4
    labels.append("Average")
    low, high = found.ci or (None, None)
    notes.append(_interval(found.difference, low, high))
    if found.difference is not None:
        axis.axvline(found.difference, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
        if low is not None and high is not None:
            middle = found.difference
            axis.fill([low, middle, high, middle], [bottom, bottom - 0.3, bottom, bottom + 0.3], color=INK, zorder=3)
        else:
            axis.plot([found.difference], [bottom], "D", color=INK, markersize=6)
    axis.axhline(len(own) - 0.3, color=LINE, linewidth=1)
    for bound in _margins(found, result.margin):
        axis.axvline(bound, color=BAD, linewidth=1.2, linestyle=(0, (5, 2)))
        axis.annotate(
            f"margin {_signed(bound, places=None)}", (bound, bottom + 0.72), color=BAD, fontsize=8, ha="center",
            va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    places = [*range(len(own)), bottom]
    axis.set_yticks(places, labels)
    axis.set_ylim(bottom + 1.1, -0.7)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    beside = axis.secondary_yaxis("right")
    beside.set_yticks(places, notes)
    beside.tick_params(length=0, labelcolor=INK, labelsize=8)
    beside.spines["right"].set_visible(False)
    reach = max(abs(bound) for bound in axis.get_xlim())
    axis.set_xlim(-reach, reach)
    axis.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], symmetric=True))
    decimals = 0 if reach >= 5 else 1 if reach >= 0.8 else 2 if reach >= 0.08 else 3
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value, places=decimals)))
    axis.set_title(_wrapped(f"← favours {second}", 26), loc="left", fontsize=9, color=colour_of[second][0])
    axis.set_title(_wrapped(f"favours {first} →", 26), loc="right", fontsize=9, color=colour_of[first][0])
    words = _FOM_WORDS.get(result.fom, result.fom)
    share = f"{100 * (1 - result.alpha):g} %"
    axis.set_xlabel(_wrapped(f"{words}: {first} − {second} ({share} intervals)", 76), color=INK, fontsize=9)


def _margins(found: Comparison, margin: float | None) -> list[float]:
    """Where the margin's lines stand on the axis of the difference (first − second)."""
    equivalence = getattr(found, "equivalence", None)
    if equivalence is not None:
        return [-equivalence.margin, equivalence.margin]
    if found.noninferiority is not None:
        sign = -1.0 if found.noninferiority.of == found.treatments[0] else 1.0
        return [sign * found.noninferiority.margin]
    return [] if margin is None else [-margin]


def means(result: Result) -> Figure:
    """The treatments' means with their intervals, and each reader's values as thin lines across the treatments."""
    names = result.treatments
    figure, (axis,) = axes(max(4.2, 1.2 + 1.5 * len(names)), 4.2)
    for reader in result.readers:
        values = [(x, result.auc.get(name, {}).get(reader)) for x, name in enumerate(names)]
        known = [(x, value) for x, value in values if value is not None]
        axis.plot([x for x, _ in known], [y for _, y in known], "o-", color=MUTED, alpha=0.5, linewidth=1, markersize=3)
    for place, mean in enumerate(result.means):
        colour, _, marker = _arm(place)
        if mean.estimate is None:
            axis.text(place, 0.02, "not estimable", transform=axis.get_xaxis_transform(), ha="center", color=MUTED)
            continue
        if mean.lower is not None and mean.upper is not None:
            axis.plot([place + 0.13] * 2, [mean.lower, mean.upper], color=colour, linewidth=2.4)
            axis.plot([place + 0.13], [mean.estimate], marker, color=colour, markersize=8)
        else:
            axis.plot([place + 0.13], [mean.estimate], marker, color=colour, markersize=8, markerfacecolor="none")
        axis.annotate(
            f"{mean.estimate:.3f}", (place + 0.13, mean.estimate), xytext=(9, 0), textcoords="offset points",
            va="center", fontsize=9, color=INK,
        )  # fmt: skip
    axis.set_xticks(range(len(names)), [_wrapped(name, 16) for name in names])
    axis.set_xlim(-0.4, len(names) - 0.4)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel(_capital(_FOM_WORDS.get(result.fom, result.fom)), color=INK)
    share = f"{100 * (1 - result.alpha):g} %"
    handles = [
        Line2D(
            [], [], color=INK, linewidth=2.4, marker="o", markersize=7, label=f"mean of the readers, {share} interval"
        ),
        Line2D([], [], color=MUTED, alpha=0.6, linewidth=1, marker="o", markersize=3, label="one reader"),
    ]
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=8.5, ncols=1)
    return figure


def score_distribution(distributions: Mapping[str, ScoreDistribution], *, x_label: str = "Rating") -> Figure:
    """How often each rating was given to cases without and with the finding, one panel per arm, in per cent of each."""
    _some(distributions, "score distributions")
    longest = max(len(one.labels) for one in distributions.values())
    columns = len(distributions)
    width = max(3.6, min(5.2, 1.4 + 0.35 * longest)) * columns
    figure, row = axes(width, 3.7, columns, sharey=True)
    for axis, (arm, counted) in zip(row, distributions.items(), strict=True):
        intervals = bool(np.isfinite([counted.lower, counted.upper]).all() and (counted.upper > counted.lower).all())
        left, right = counted.lower, counted.upper
        if not intervals:
            left, right = (np.arange(len(counted.labels), dtype=np.float64) + edge for edge in (-0.4, 0.4))
        half = (right - left) / 2
        totals = int(counted.nondiseased.sum()), int(counted.diseased.sum())
        for shift, counts, total, words, colour, hatch in (
            (0.0, counted.nondiseased, totals[0], "finding absent", ABSENT, ""),
            (1.0, counted.diseased, totals[1], "finding present", PRESENT, "///"),
        ):
            axis.bar(
                left + shift * half, 100 * counts / max(total, 1), width=half, align="edge", color=colour, hatch=hatch,
                edgecolor="white", linewidth=0.6, label=words,
            )  # fmt: skip
        if not intervals:
            crowded = len(counted.labels) > 8 or max(map(len, counted.labels)) > 6
            axis.set_xticks(
                range(len(counted.labels)), counted.labels, rotation=60 if crowded else 0,
                ha="right" if crowded else "center", fontsize=8 if crowded else 9,
            )  # fmt: skip
        axis.set_title(
            _wrapped(arm, 34) + f"\n{totals[0]} absent, {totals[1]} present", fontsize=9.5, color=INK, linespacing=1.3
        )
        axis.set_xlabel(x_label, color=INK)
        axis.grid(axis="x", visible=False)
    row[0].set_ylabel("Share of the cases, %", color=INK)
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure


def calibration(
    groups: Mapping[str, Sequence[HasPoints]], *, x_label: str = "Stated probability, mean of the group"
) -> Figure:
    """Reliability diagram: what was stated against what was found, with the counts of each group beneath.

    Args:
        groups: per arm its groups, each with ``predicted``, ``observed`` (both 0 to 1), ``count`` and, where they are
            known, ``lower`` and ``upper`` of the observed share.
        x_label: the name of the prediction.
    """
    _some(groups, "groups")
    figure = Figure(figsize=(5.4, 6.2), layout="constrained")
    FigureCanvasSVG(figure)
    axis, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.1))
    for one in (axis, below):
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(MUTED)
        one.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
        one.grid(color=LINE, linewidth=0.7)
        one.set_axisbelow(True)
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (1, 3)), label="perfect calibration")
    width = 0.8 / (max(10, *(len(own) for own in groups.values())) * max(1, len(groups)))
    for place, (arm, given) in enumerate(groups.items()):
        colour, dashes, marker = _arm(place)
        own = sorted((one for one in given if one.count), key=lambda one: one.predicted)
        x, y = [one.predicted for one in own], [one.observed for one in own]
        axis.plot(
            x, y, linestyle=dashes, marker=marker, color=colour, linewidth=1.6, markersize=5, label=_wrapped(arm, 36)
        )
        for one in own:
            low, high = getattr(one, "lower", None), getattr(one, "upper", None)
            if low is not None and high is not None:
                axis.plot([one.predicted] * 2, [low, high], color=colour, linewidth=1, alpha=0.7)
        shift = (place - (len(groups) - 1) / 2) * width
        below.bar(
            np.array(x) + shift, [one.count for one in own], width=width, color=colour, hatch=("///", "")[place % 2],
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_ylabel("Observed share with the finding", color=INK)
    axis.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, handlelength=2.8)
    below.set_ylabel("Answers", color=INK)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    below.set_xlabel(x_label, color=INK)
    return figure


def power_curve(rows: Iterable[Mapping[str, Any]], *, target: float | None = 0.8) -> Figure:
    """Power against the number of cases, a line per number of readers; a panel per difference to detect.

    Args:
        rows: as :func:`analysis.stats.power.power_table` gives them: ``difference``, ``readers``, ``cases``, ``power``.
        target: drawn as a line.
    """
    table = list(rows)
    _some(table, "rows")
    differences = list(dict.fromkeys(one["difference"] for one in table))
    readers = list(dict.fromkeys(one["readers"] for one in table))
    figure, panels = axes(max(5.0, 4.0 * len(differences)), 3.8, len(differences), sharey=True)
    shades = [mpl.colormaps["viridis"](0.85 * (1 - place / max(1, len(readers) - 1))) for place in range(len(readers))]
    for axis, difference in zip(panels, differences, strict=True):
        if target is not None:
            axis.axhline(target, color=BAD, linewidth=1, linestyle=(0, (5, 2)))
            axis.annotate(
                f"{100 * target:g} %", (1, target), xycoords=("axes fraction", "data"), xytext=(-2, -3),
                textcoords="offset points", color=BAD, fontsize=8, ha="right", va="top",
            )  # fmt: skip
        for place, number in enumerate(readers):
            own = [one for one in table if one["difference"] == difference and one["readers"] == number]
            known = sorted((one["cases"], one["power"]) for one in own if one["power"] is not None)
            axis.plot(
                [x for x, _ in known], [y for _, y in known], marker=("o", "s", "^", "D", "v", "P")[place % 6],
                markersize=4, linewidth=1.5, color=shades[place], linestyle=ARM_DASHES[(place + 1) % 4],
                label=f"{number} readers",
            )  # fmt: skip
        axis.set_ylim(0, 1.03)
        axis.set_xlabel("Cases", color=INK)
        axis.set_title(f"difference {_signed(difference, places=None, plus=False)}", fontsize=10, color=INK)
        axis.margins(x=0.08)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    panels[0].set_ylabel("Power", color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8.5, handlelength=2.8)
    return figure


def reading_times(seconds: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Reading times by arm: all reads on the left, each reader's geometric mean on the right, both in seconds on logs.

    Args:
        seconds: per arm and reader the times of their reads, each positive.

    Raises:
        RatingsError: there are no times, or one is not a positive number.
    """
    _some(seconds, "reading times")
    every = {
        arm: {reader: np.asarray(times, dtype=float).ravel() for reader, times in own.items()}
        for arm, own in seconds.items()
    }
    pooled = {arm: np.concatenate([np.empty(0), *own.values()]) for arm, own in every.items()}
    for arm, times in pooled.items():
        if times.size and not (np.isfinite(times).all() and (times > 0).all()):
            raise RatingsError(f"A reading time under {arm} is not a positive number of seconds.")
    if not any(times.size for times in pooled.values()):
        raise RatingsError("There are no reading times to draw.")
    arms = list(every)
    figure, (left, right) = axes(max(7.2, 2.4 + 2.0 * len(arms)), 4.0, 2, sharey=True)
    known = [(place, arm) for place, arm in enumerate(arms) if pooled[arm].size]
    drawn = left.boxplot(
        [pooled[arm] for _, arm in known], positions=[place for place, _ in known], widths=0.5, patch_artist=True,
        flierprops={"marker": ".", "markersize": 3, "markerfacecolor": MUTED, "markeredgecolor": "none", "alpha": 0.5},
        medianprops={"color": INK, "linewidth": 1.6}, manage_ticks=False,
    )  # fmt: skip
    for (place, _), box, hatch in zip(known, drawn["boxes"], ("", "///", "...", "xxx") * 9, strict=False):
        box.set(facecolor="white", edgecolor=_arm(place)[0], linewidth=1.4, hatch=hatch)
    left.set_title("all reads: median, quartiles, 1.5 × their distance", fontsize=9.5, color=INK)
    for reader in dict.fromkeys(reader for own in every.values() for reader in own):
        points = [(x, _geometric(every[arm].get(reader))) for x, arm in enumerate(arms)]
        kept = [(x, y) for x, y in points if y is not None]
        right.plot([x for x, _ in kept], [y for _, y in kept], "o-", color=MUTED, alpha=0.55, linewidth=1, markersize=3)
    together = [(x, _geometric(pooled[arm])) for x, arm in enumerate(arms)]
    for x, y in together:
        if y is not None:
            colour, _, marker = _arm(x)
            right.plot([x], [y], marker, color=colour, markersize=9)
            right.annotate(
                f"{y:.3g} s", (x, y), xytext=(10, 0), textcoords="offset points", va="center", fontsize=9, color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
            )  # fmt: skip
    right.set_title("geometric means: each reader, all reads large", fontsize=9.5, color=INK)
    for axis in (left, right):
        axis.set_yscale("log")
        axis.set_xticks(range(len(arms)), [_wrapped(arm, 14) for arm in arms])
        axis.set_xlim(-0.5, len(arms) - 0.4)
        axis.grid(axis="x", visible=False)
        _plain_logs(axis)
    left.set_ylabel("Reading time, s (log scale)", color=INK)
    return figure


def switches(by_reader: Mapping[str, Any]) -> Figure:
    """Answers changed after the assistance was seen, per reader: wrong to right rightwards, right to wrong leftwards.

    Args:
        by_reader: per reader an object with ``wrong_to_right`` and ``right_to_wrong`` (reads), as
            :class:`analysis.stats.reliance.SwitchCounts` has them.
    """
    _some(by_reader, "readers")
    readers = list(by_reader)
    figure, (axis,) = axes(6.4, 1.6 + 0.34 * len(readers))
    gained = [int(by_reader[reader].wrong_to_right) for reader in readers]
    lost = [int(by_reader[reader].right_to_wrong) for reader in readers]
    places = np.arange(len(readers))
    axis.barh(places, gained, height=0.62, color=ARM_COLOURS[1], label="wrong → right")
    axis.barh(places, [-n for n in lost], height=0.62, color="#f0e3c6", edgecolor=ARM_COLOURS[0], hatch="///",
              label="right → wrong")  # fmt: skip
    for place, up, down in zip(places, gained, lost, strict=True):
        for at, words, side in ((up, f"{up}", "left"), (-down, f"{down}", "right")):
            axis.annotate(
                words, (at, place), xytext=(3 if side == "left" else -3, 0), textcoords="offset points",
                ha=side, va="center", fontsize=8.5, color=INK,
            )  # fmt: skip
    axis.axvline(0, color=MUTED, linewidth=1)
    reach = max([1, *gained, *lost]) * 1.15
    axis.set_xlim(-reach, reach)
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    net = [f"net {_signed(up - down, places=None)}" for up, down in zip(gained, lost, strict=True)]
    axis.set_yticks(places, [_wrapped(reader, 24) for reader in readers])
    axis.set_ylim(len(readers) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    beside = axis.secondary_yaxis("right")
    beside.set_yticks(places, net)
    beside.tick_params(length=0, labelcolor=INK, labelsize=8.5)
    beside.spines["right"].set_visible(False)
    axis.set_xlabel("Reads whose answer changed", color=INK)
    figure.legend(loc="outside upper center", frameon=False, fontsize=9, ncols=2)
    return figure


def heatmap(
    maps: Mapping[str, ArrayLike | None],
    image: ArrayLike | None = None,
    *,
    unit: str = "share of the looking time, relative to the highest",
) -> Figure:
    """Where was looked, one panel per arm on one colour scale, over the image where it is given.

    Args:
        maps: per arm a map ``[rows, columns]`` of non-negative numbers, all of one shape; None where there is no gaze.
        image: grey image ``[h, w]`` of the same proportions, any scale.
        unit: what the colours mean; the maps are divided by the highest value of all of them.

    Raises:
        RatingsError: the maps differ in shape, or hold a negative number or a NaN.
    """
    _some(maps, "maps")
    grids: dict[str, NDArray[np.float64] | None] = {
        arm: None if given is None else np.asarray(given, dtype=float) for arm, given in maps.items()
    }
    shapes = {grid.shape for grid in grids.values() if grid is not None}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise RatingsError(
            f"The maps have shapes {sorted(shapes)}; give every arm one map of the same rows and columns."
        )
    for arm, grid in grids.items():
        if grid is not None and not (np.isfinite(grid).all() and (grid >= 0).all()):
            raise RatingsError(f"The map of {arm} holds a negative or missing number; a density has neither.")
    picture = None if image is None else np.asarray(image, dtype=float)
    rows, columns = picture.shape if picture is not None else (next(iter(shapes)) if shapes else (1, 1))
    highest = max((float(grid.max()) for grid in grids.values() if grid is not None), default=0.0) or 1.0
    width = 3.4
    figure, panels = axes(width * len(grids) + 0.9, min(6.5, 0.95 * width * rows / columns + 0.5), len(grids))
    shades = mpl.colormaps["inferno" if picture is not None else "cividis"]
    extent = (0.0, float(columns), float(rows), 0.0)
    for axis, (arm, grid) in zip(panels, grids.items(), strict=True):
        if picture is not None:
            axis.imshow(picture, cmap="gray", extent=extent, interpolation="antialiased")
        if grid is None:
            axis.text(
                0.5, 0.5, "no gaze", transform=axis.transAxes, ha="center", va="center", color=MUTED,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
        else:
            value = grid / highest
            alpha = np.clip(1.2 * np.sqrt(value), 0, 0.75) if picture is not None else 1.0
            axis.imshow(value, cmap=shades, vmin=0, vmax=1, alpha=alpha, extent=extent, interpolation="nearest")
        axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        axis.set_title(_wrapped(arm, 30), fontsize=10, color=INK)
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), shades), ax=panels, shrink=0.8, pad=0.02, aspect=24
    )
    bar.set_label(_wrapped(_capital(unit), 40), color=INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8)
    return figure


def _arm(place: int) -> tuple[str, str, str]:
    """Colour, line and marker of the arm at this place; after the fourth they come again."""
    return ARM_COLOURS[place % 4], ARM_DASHES[place % 4], ARM_MARKERS[place % 4]


def _some(given: Mapping[str, Any] | Sequence[Any], words: str) -> None:
    if not given:
        raise RatingsError(f"There are no {words} to draw.")


def _several(given: Any) -> list[OperatingPoint]:
    if given is None:
        return []
    return [given] if isinstance(given, OperatingPoint) else list(given)


def _smooth(fits: Mapping[str, Any] | None, arm: str) -> tuple[Curve | None, str]:
    """The smooth curve of an arm, and what the legend adds where it has none."""
    fit = (fits or {}).get(arm)
    if fit is None or isinstance(fit, Curve):
        return fit, ""
    if fit.not_estimable:
        return None, ": smooth curve not estimable"
    return fit.curve(), ""


def _cross(axis: Axes, point: OperatingPoint, colour: str, marker: str) -> None:
    across, up = point.fpr, point.tpr
    if across.estimate is None or up.estimate is None:
        return
    for share, line in ((across, "x"), (up, "y")):
        ends = _ends(share)
        if ends is not None:
            other = [up.estimate] * 2 if line == "x" else [across.estimate] * 2
            axis.plot(*((ends, other) if line == "x" else (other, ends)), color=colour, linewidth=1.1)
    axis.plot([across.estimate], [up.estimate], marker, color=colour, markersize=6.5, markeredgecolor="white", zorder=4)


def _ends(share: Proportion) -> list[float] | None:
    return None if share.lower is None or share.upper is None else [share.lower, share.upper]


def _unit_square(axis: Axes) -> None:
    axis.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axis.set_xticks(ticks)
    axis.set_yticks(ticks)


def _plain_logs(axis: Axes) -> None:
    """Seconds as people write them (20, 50, 100) on a log axis, and no more than needed."""
    low, high = axis.get_ylim()
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [step * 10.0**power for power in range(-3, 7) for step in steps if low <= step * 10.0**power <= high]
    axis.set_yticks(ticks)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _geometric(times: NDArray[np.float64] | None) -> float | None:
    return None if times is None or not times.size else float(np.exp(np.log(times).mean()))


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not estimable"
    if low is None or high is None:
        return f"{_signed(value)} (no interval)"
    return f"{_signed(value)} ({_signed(low)} to {_signed(high)})"


def _signed(value: float, places: int | None = 3, *, plus: bool = True) -> str:
    """A difference as people print it: a true minus sign, and a plus where it is one."""
    rounded = round(value, 12 if places is None else places)
    words = f"{abs(rounded):g}" if places is None else f"{abs(rounded):.{places}f}"
    if rounded == 0:
        return "0" if places is None or places < 3 else words
    return ("−" if rounded < 0 else "+" if plus else "") + words


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


def _capital(text: str) -> str:
    """ "Sensitivity", but "wAFROC"."""
    return text[:1].upper() + text[1:] if text[1:2].islower() else text
