"""Checklists are filled from what is stored; what is not stored is named, and nothing is made up."""

from __future__ import annotations

import tomllib

import pytest

from analysis.queries.facts import facts_of_result
from analysis.services.analysing import analyse_study
from analysis.services.checklists import FILLS, FOLDER, MISSING, NOT_RECORDED, filled
from tests.analysis.comparison import unblinded_comparison


def items() -> list[tuple[str, dict[str, str]]]:
    return [(path.stem, item) for path in FOLDER.glob("*.toml") for item in tomllib.loads(path.read_text())["item"]]


def test_there_are_four_checklists_with_their_sources() -> None:
    names = {path.stem for path in FOLDER.glob("*.toml")}
    assert names == {"claim", "stard_ai", "decide_ai", "fda_cade"}
    for path in FOLDER.glob("*.toml"):
        body = tomllib.loads(path.read_text())
        assert body["name"] and body["source"] and body["order"]


@pytest.mark.parametrize(("checklist", "item"), items(), ids=lambda v: v if isinstance(v, str) else v["id"])
def test_every_item_is_answered_by_a_function_or_names_what_is_missing(checklist: str, item: dict[str, str]) -> None:
    assert item["asks"] and len(item["asks"]) < 130, "items are paraphrased in short words"
    assert ("fill" in item) != ("missing" in item), item
    assert item.get("fill", "goal") in FILLS


def test_claim_has_its_44_items_in_order() -> None:
    assert [item["id"] for name, item in items() if name == "claim"] == [str(n) for n in range(1, 45)]


def test_every_function_is_asked_by_an_item() -> None:
    assert {item["fill"] for _, item in items() if "fill" in item} == set(FILLS)
    assert set(MISSING) <= set(FILLS)


@pytest.mark.django_db
@pytest.mark.usefixtures("data_dir")
def test_a_study_fills_them_with_its_own_facts_and_names_what_is_missing() -> None:
    study, coordinator = unblinded_comparison(readers=3, cases=9)
    result = analyse_study(study=study, actor=coordinator)
    lists = {checklist.name: checklist for checklist in filled(result.numbers, facts_of_result(result))}
    claim = {row.id: row for row in lists["CLAIM 2024"].rows}
    assert "9 cases of 9 patients" in claim["7"].words and "Phantom 9" in claim["7"].words
    assert "made for a test 9" in claim["14"].words
    assert "AUC for any finding, superiority" in claim["4"].words
    assert not claim["44"].answered and claim["44"].words == f"{NOT_RECORDED}funding and conflicts of interest."
    assert not claim["36"].answered and "sex" in claim["36"].words  # phantoms of the tests carry neither sex nor age
    fda = lists["FDA CADe, reader study"]
    assert any("0 days of washout" in row.words for row in fda.rows)
    for checklist in lists.values():
        assert 0 < checklist.answered < len(checklist.rows)
        for row in checklist.rows:
            assert row.words and "None" not in row.words.replace("None is known", "").replace("None:", "")
            assert row.answered != row.words.startswith((NOT_RECORDED, "Not in this report: "))
