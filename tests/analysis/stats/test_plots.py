"""Figures: what they show stands in them as text, they come out the same twice, and nothing is cut off."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.stats import RatingsError, analyze, plots
from analysis.stats.curves import empirical_roc, operating_point, proportion, score_distribution
from analysis.stats.marks import MarkCurve
from analysis.stats.parametric import fit_counts, fit_proper
from analysis.stats.power import PlanningComponents, power_table
from analysis.stats.reliance import SwitchCounts
from tests.analysis.simulated import roe_metz

ARMS = ("With GazeX beside the reader", "Without assistance")


def frame(seed: int = 1, **options: Any) -> Any:
    return roe_metz(seed, treatments=ARMS, **options)


def words(figure: Figure) -> str:
    root = ET.fromstring(plots.figure_svg(figure, "A title"))
    return " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))


@cache
def drawings(_time: int = 0) -> dict[str, Figure]:
    data = frame()
    result = analyze(data, reference=ARMS[1], margin=0.05)
    rng = np.random.default_rng(0)
    cell = {arm: data[(data.treatment == arm) & (data.reader == "R1")] for arm in ARMS}
    components = PlanningComponents(var=8e-4, cov1=3.5e-4, cov2=3.4e-4, cov3=2.4e-4, var_tr=2e-4, cases=114)
    return {
        "roc": plots.roc(
            {arm: empirical_roc(own.truth, own.rating) for arm, own in cell.items()},
            fits={arm: fit_proper(own.truth, own.rating) for arm, own in cell.items()},
            operating_points={arm: operating_point(own.truth, own.rating, 1) for arm, own in cell.items()},
            areas={ARMS[0]: 0.9, ARMS[1]: None},
        ),
        "froc": plots.froc({ARMS[0]: ([0, 0.5, 1], [0, 0.6, 0.8]), ARMS[1]: [([0, 1], [0, 0.4]), ([0, 2], [0, 0.5])]}),
        "forest": plots.forest(result),
        "means": plots.means(result),
        "scores": plots.score_distribution(
            {arm: score_distribution(own.truth, np.round(own.rating)) for arm, own in cell.items()}
        ),
        "long scores": plots.score_distribution(
            {arm: score_distribution(own.truth, own.rating, most=8) for arm, own in cell.items()}
        ),
        "calibration": plots.calibration({arm: groups(rng) for arm in ARMS}),
        "power": plots.power_curve(
            power_table(components, readers=[4, 8], cases=[50, 100, 200], differences=[0.03, 0.05])
        ),
        "times": plots.reading_times(
            {arm: {f"R{j}": np.exp(rng.normal(4, 0.4, 20)) for j in range(3)} for arm in ARMS}
        ),
        "switches": plots.switches({f"R{j}": SwitchCounts(30, j, 2 * j, 4, j, j) for j in range(5)}),
        "heatmap": plots.heatmap({ARMS[0]: rng.random((24, 20)), ARMS[1]: None}, rng.random((48, 40))),
    }


def groups(rng: np.random.Generator) -> list[SimpleNamespace]:
    out = []
    for predicted in np.linspace(0.1, 0.9, 5):
        share = proportion(int(rng.integers(0, 20)), 20)
        out.append(
            SimpleNamespace(
                predicted=predicted, observed=share.estimate, count=20, lower=share.lower, upper=share.upper
            )
        )
    return out


NAMES = (
    "roc", "froc", "forest", "means", "scores", "long scores", "calibration", "power", "times", "switches", "heatmap",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_bytes_twice_with_its_title_and_text_as_text(name: str) -> None:
    first, second = (plots.figure_svg(drawn[name], f"Figure {name}") for drawn in (drawings(), drawings(1)))
    assert first == second
    root = ET.fromstring(first)
    assert root.find("{http://www.w3.org/2000/svg}title").text == f"Figure {name}"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) > 4
    assert b"<dc:date>" not in first
    coordinates = " ".join(path.get("d", "") for path in root.iter("{http://www.w3.org/2000/svg}path"))
    assert "nan" not in coordinates


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off_at_the_edge(name: str) -> None:
    figure = drawings()[name]
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 > -0.01 and drawn.y0 > -0.01
    assert drawn.x1 < width + 0.01 and drawn.y1 < height + 0.01


def test_the_forest_shows_every_reader_with_numbers_and_the_margin() -> None:
    result = analyze(frame(), reference=ARMS[1], margin=0.05)
    text = words(plots.forest(result))
    for own in result.reader_differences:
        assert own.reader in text
        assert f"{abs(own.difference):.3f} (" in text
    assert "margin −0.05" in text and "Average" in text
    assert "favours With GazeX" in text and "favours Without" in text


def test_a_harmed_reader_has_the_mark_of_the_arm_that_did_better() -> None:
    data = frame()
    harmed = (data.reader == "R2") & (data.treatment == ARMS[0])
    data.loc[harmed, "rating"] = -data.loc[harmed, "rating"]
    result = analyze(data, reference=ARMS[1])
    (axis,) = [axis for axis in plots.forest(result).axes if axis.lines]
    marks = {
        round(float(line.get_ydata()[0])): (line.get_color(), line.get_marker())
        for line in axis.lines
        if line.get_marker() not in ("None", None)
    }
    first, second = (plots._arm(result.treatments.index(name)) for name in (ARMS[0], ARMS[1]))
    for place, own in enumerate(result.reader_differences):
        colour, _, marker = first if own.difference > 0 else second
        assert marks[place] == (colour, marker)
    assert result.reader_differences[1].difference < 0


@pytest.mark.parametrize(("reference", "sign"), [(ARMS[1], -1), (None, 1)])
def test_the_margin_stands_on_the_side_of_what_is_tested(reference: str | None, sign: int) -> None:
    """Without a reference the later arm is tested against the earlier: worse means a positive difference."""
    result = analyze(frame(), reference=reference, margin=0.05)
    assert plots._margins(result.comparisons[0], result.margin) == [sign * 0.05]


def test_what_is_not_estimable_is_written_not_drawn() -> None:
    result = analyze(frame(readers=1))
    assert "(no interval)" in words(plots.forest(result))
    perfect = fit_counts([10, 0], [0, 10])
    curve = empirical_roc([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0])
    assert "smooth curve not estimable" in words(plots.roc({"A": curve}, fits={"A": perfect}))
    assert "no gaze" in words(drawings()["heatmap"])


def test_three_treatments_give_a_panel_per_pair() -> None:
    result = analyze(roe_metz(2, treatments=("A", "B", "C")))
    assert len([axis for axis in plots.forest(result).axes if axis.lines]) == 3
    assert len([axis for axis in plots.forest(result, pair=("A", "C")).axes if axis.lines]) == 1
    with pytest.raises(RatingsError, match="no comparison of A and Z"):
        plots.forest(result, pair=("A", "Z"))
    with pytest.raises(RatingsError, match="two treatments"):
        plots.forest(analyze(roe_metz(2, treatments=("A",))))


def test_curves_of_marks_are_named_by_their_kind() -> None:
    line = MarkCurve("wafroc", np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.7, 1.0]), np.array([np.inf, 2, -np.inf]))
    text = words(plots.froc({"A": line, "B": [line, line]}))
    assert "Share of normal cases with a mark" in text and "weighted within each case" in text
    with pytest.raises(RatingsError, match=r"several kinds \(froc, wafroc\)"):
        plots.froc({"A": line, "B": ([0, 1], [0, 1])})


def test_the_switches_are_those_counted() -> None:
    counts = {"R1": SwitchCounts(1, 3, 9, 1, 0, 0), "R2": SwitchCounts(1, 7, 2, 1, 0, 0)}
    text = words(plots.switches(counts))
    assert "net +6" in text and "net −5" in text
    assert "wrong → right" in text and "right → wrong" in text


def test_heatmaps_share_one_scale() -> None:
    figure = plots.heatmap({"A": np.full((3, 3), 4.0), "B": np.full((3, 3), 1.0)})
    drawn = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert [float(np.max(values)) for values in drawn] == [1.0, 0.25]


def test_odd_input_is_refused_in_one_sentence() -> None:
    for call in (
        lambda: plots.roc({}),
        lambda: plots.froc({}),
        lambda: plots.switches({}),
        lambda: plots.heatmap({}),
        lambda: plots.power_curve([]),
        lambda: plots.reading_times({}),
        lambda: plots.calibration({}),
        lambda: plots.score_distribution({}),
    ):
        with pytest.raises(RatingsError, match=r"^There are no .* to draw\.$"):
            call()
    with pytest.raises(RatingsError, match="not a positive number of seconds"):
        plots.reading_times({"A": {"R1": [3.0, 0.0]}})
    with pytest.raises(RatingsError, match="There are no reading times"):
        plots.reading_times({"A": {"R1": []}})
    with pytest.raises(RatingsError, match="one map of the same rows and columns"):
        plots.heatmap({"A": np.ones((2, 2)), "B": np.ones((3, 2))})
    with pytest.raises(RatingsError, match="negative or missing"):
        plots.heatmap({"A": np.array([[np.nan, 1.0]])})


def test_differences_are_printed_with_a_true_minus() -> None:
    assert plots._signed(-0.0436) == "−0.044"
    assert plots._signed(0.05, places=None) == "+0.05"
    assert plots._signed(-1e-9) == "0.000"
    assert not re.search(r"[^(]-\d", words(drawings()["forest"]))


def test_drawing_changes_no_global_setting_and_needs_no_pyplot() -> None:
    code = (
        "import sys, matplotlib as mpl\n"
        "settings = lambda: [mpl.rcParams[name] for name in ('svg.fonttype', 'svg.hashsalt', 'font.family')]\n"
        "before = settings()\n"
        "from analysis.stats import plots\n"
        "plots.figure_svg(plots.froc({'A': ([0, 1], [0, 1])}), 'x')\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
