"""``python -m analysis.stats power`` as a person calls it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.stats import RatingsError, analyze
from analysis.stats.commands import power as command
from analysis.stats.commands.common import printed
from analysis.stats.imrmc import write_imrmc
from analysis.stats.ratings import read_ratings
from tests.analysis.simulated import roe_metz
from tests.reference import REFERENCE, needs_reference

FLAGS = [
    *("--var", ".0008", "--cov1", ".00035", "--cov2", ".00034", "--cov3", ".00024"),
    *("--var-tr", ".0002", "--pilot-cases", "114"),
]


def run(*words: object) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return json.loads(printed(command.run(parser.parse_args([str(word) for word in words]))))


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    path = tmp_path / "pilot.csv"
    roe_metz(3, readers=4).to_csv(path, index=False)
    return path


@needs_reference
def test_the_power_of_van_dykes_pilot_is_printed() -> None:
    found = run(REFERENCE / "mrmc" / "VanDyke.csv", "--readers", 6, "--cases", 251, "--difference", 0.05)
    assert found["power"] == pytest.approx(0.8922819891936, rel=1e-8)
    assert found["ncp"] == pytest.approx(11.611452927901, rel=1e-9)
    assert found["df"] == pytest.approx(16.12703720728, rel=1e-9)
    assert found["pilot"]["readers"] == 5
    assert found["method"] and found["conventions"]


@needs_reference
def test_the_cases_for_a_target_power_are_printed() -> None:
    found = run(REFERENCE / "mrmc" / "VanDyke.csv", "--readers", 6, "--target-power", 0.8, "--difference", 0.05)
    assert found["cases"] == 170


@needs_reference
def test_a_free_response_pilot_is_planned_from() -> None:
    folder = REFERENCE / "mrmc"
    found = run(
        folder / "TONY_marks.csv", "--truth", folder / "TONY_truth.csv",
        "--readers", 5, "--cases", 185, "--difference", 0.1,
    )  # fmt: skip
    # The pilot's own size: its own standard error.
    assert found["se"] == pytest.approx(0.03151074, rel=1e-6)


def test_readers_are_found_where_cases_and_a_target_are_given(pilot: Path) -> None:
    found = run(pilot, "--cases", 200, "--target-power", 0.7, "--difference", 0.1)
    assert found["readers"] >= 2 and found["power"] >= 0.7


def test_flags_and_a_file_give_what_the_pilot_gives(pilot: Path, tmp_path: Path) -> None:
    plan = ("--readers", 6, "--cases", 150, "--difference", 0.07)
    direct = run(pilot, *plan)
    parts = direct["components"]
    flags = [word for name in ("var", "cov1", "cov2", "cov3") for word in (f"--{name}", parts[name])]
    assert run(*flags, f"--var-tr={parts['var_tr']!r}", "--pilot-cases", 40, *plan)["power"] == direct["power"]
    file = tmp_path / "components.json"
    file.write_text(json.dumps(parts))
    assert run("--components", file, *plan)["power"] == direct["power"]
    file.write_text(json.dumps(analyze(roe_metz(3, readers=4), covariance="jackknife").to_dict()))
    assert run("--components", file, *plan)["power"] == direct["power"]


def test_a_power_that_is_never_reached_is_a_sentence_and_no_number() -> None:
    found = run(*FLAGS, "--readers", 3, "--target-power", 0.9, "--difference", 0.02)
    assert found["cases"] is None and found["power"] is None
    assert found["not_estimable"].startswith("not reachable, because no number of cases gives 3 readers")


def test_with_cases_random_the_df_is_infinite() -> None:
    found = run(*FLAGS, "--readers", 3, "--cases", 90, "--difference", 0.02, "--random", "cases")
    assert found["df"] == "infinite"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--readers", 3, "--cases", 9], "Give the variance components once"),
        ([*FLAGS, "--readers", 3], "Give two of --readers, --cases and --target-power, .* given: --readers."),
        ([*FLAGS], "given: none"),
        ([*FLAGS[:4], "--readers", 3, "--cases", 9], "lack --cov2, --cov3, --var-tr, --pilot-cases; give all six"),
        (["--components", "nowhere.json", "--readers", 3, "--cases", 9], "nowhere.json cannot be read"),
        ([*FLAGS, "--readers", 3, "--cases", 9, "--random", "both"], "random is 'both'"),
    ],
    ids=["no components", "one number", "no number", "half the components", "no file", "unknown effects"],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(words: list[object], sentence: str) -> None:
    with pytest.raises(RatingsError, match=sentence):
        run("--difference", 0.05, *words)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds no JSON object"),
        ('{"var": 1}', "lack cov1"),
        ('{"var": "x"}', "var is 'x'; it must be a number"),
        ('{"var": 1, "cov1": 0, "cov2": 0, "cov3": 0, "var_tr": 0, "cases": 1.5}', "cases of the pilot is 1.5"),
    ],
)
def test_a_file_that_holds_no_components_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "components.json"
    file.write_text(text)
    with pytest.raises(RatingsError, match=sentence):
        run("--components", file, "--readers", 3, "--cases", 90, "--difference", 0.05)


def test_a_pilot_with_text_for_a_rating_is_refused_with_its_row(pilot: Path) -> None:
    lines = pilot.read_text().splitlines()
    lines[3] = lines[3].rsplit(",", 1)[0] + ",often"
    pilot.write_text("\n".join(lines) + "\n")
    with pytest.raises(RatingsError, match=r"line 4 .* 'often'"):
        run(pilot, "--readers", 3, "--cases", 90, "--difference", 0.05)


def test_a_pilot_in_imrmcs_format_plans_as_the_same_table_does(pilot: Path, tmp_path: Path) -> None:
    plan = ("--readers", 6, "--cases", 150, "--difference", 0.07)
    other = tmp_path / "pilot.imrmc"
    other.write_text(write_imrmc(read_ratings(roe_metz(3, readers=4))))
    assert run(other, *plan)["power"] == pytest.approx(run(pilot, *plan)["power"], rel=1e-12)


def test_a_pilot_is_planned_from_at_a_threshold(pilot: Path) -> None:
    found = run(pilot, "--fom", "sensitivity", "--threshold", 1, "--readers", 6, "--cases", 150, "--difference", 0.07)
    wanted = analyze(roe_metz(3, readers=4), "sensitivity", "jackknife", threshold=1).components
    assert wanted is not None and found["components"]["var"] == pytest.approx(wanted.var, rel=1e-12)


def test_a_pilot_with_ratings_missing_leads_to_pairwise_covariances(pilot: Path) -> None:
    pilot.write_text("\n".join(pilot.read_text().splitlines()[:-1]) + "\n")
    plan = ("--readers", 6, "--cases", 150, "--difference", 0.07)
    with pytest.raises(RatingsError, match=r"some of its ratings are missing.*--covariance pairwise"):
        run(pilot, *plan)
    assert run(pilot, *plan, "--covariance", "pairwise")["power"] is not None
