"""The plan is a pure, balanced function of protocol, readers, cases and seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.planning import body_sha256, plan, plan_sha256

names = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), unique=True, min_size=1, max_size=9)
seeds = st.integers(0, 2**53)


def body(arms: int = 2) -> dict[str, Any]:
    return {"arms": [{"key": f"arm-{i}"} for i in range(arms)], "periods": arms}


@given(names, names, seeds, st.integers(1, 4))
def test_every_reader_reads_every_case_exactly_once_in_each_arm(readers, cases, seed, arms) -> None:
    read = Counter((line.reader, line.case, line.arm) for line in plan(body(arms), readers, cases, seed))
    assert read == Counter((r, c, f"arm-{i}") for r in readers for c in cases for i in range(arms))


@given(names, names, seeds, st.integers(1, 4))
def test_in_each_period_a_reader_meets_each_case_once_and_the_positions_are_a_permutation(
    readers, cases, seed, arms
) -> None:
    lines = plan(body(arms), readers, cases, seed)
    for reader in readers:
        for period in range(1, arms + 1):
            mine = [line for line in lines if (line.reader, line.period) == (reader, period)]
            assert sorted(line.case for line in mine) == sorted(cases)
            assert [line.position for line in mine] == list(range(1, len(cases) + 1))


@given(names, names, seeds)
def test_the_orders_ab_and_ba_are_balanced_within_one_for_each_reader_and_for_each_case(readers, cases, seed) -> None:
    first = {(line.reader, line.case): line.arm for line in plan(body(2), readers, cases, seed) if line.period == 1}
    for reader in readers:
        ab = sum(first[reader, case] == "arm-0" for case in cases)
        assert abs(2 * ab - len(cases)) <= 1
    for case in cases:
        ab = sum(first[reader, case] == "arm-0" for reader in readers)
        assert abs(2 * ab - len(readers)) <= 1


@given(names, names, seeds, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_readers_and_cases(readers, cases, seed, random) -> None:
    before = plan(body(), readers, cases, seed)
    random.shuffle(readers)
    random.shuffle(cases)
    assert plan(body(), readers, cases, seed) == before


@given(names, names, seeds, st.randoms())
def test_the_plans_hash_does_not_depend_on_the_order_of_its_lines(readers, cases, seed, random) -> None:
    lines = plan(body(), readers, cases, seed)
    shuffled = list(lines)
    random.shuffle(shuffled)
    assert plan_sha256(shuffled) == plan_sha256(lines)


def test_the_same_seed_gives_this_very_plan_on_every_machine() -> None:
    lines = plan(body(), ["R01", "R02", "R03"], [f"case-{i}" for i in range(7)], 20261122)
    assert [(line.case, line.arm) for line in lines[:3]] == [
        ("case-4", "arm-1"),
        ("case-3", "arm-0"),
        ("case-2", "arm-0"),
    ]
    assert plan_sha256(lines) == "e58012bc6b7c93b1a003a3166496d63cec4d05eee4b32b577afd41cd6e5d1bbc"


def test_another_seed_gives_another_order() -> None:
    cases = [f"case-{i}" for i in range(20)]
    orders = {tuple(line.case for line in plan(body(1), ["R01"], cases, seed)) for seed in range(20)}
    assert len(orders) == 20


def test_two_readers_and_two_periods_have_different_orders() -> None:
    lines = plan(body(), ["R01", "R02"], [f"case-{i}" for i in range(20)], 1)
    orders = {
        tuple(line.case for line in lines if (line.reader, line.period) == (reader, period))
        for reader in ("R01", "R02")
        for period in (1, 2)
    }
    assert len(orders) == 4


@settings(max_examples=20)
@given(seeds)
def test_orders_are_spread_evenly_over_the_first_place(seed) -> None:
    cases = [f"case-{i}" for i in range(4)]
    readers = [f"R{i:03d}" for i in range(400)]
    firsts = Counter(line.case for line in plan(body(1), readers, cases, seed) if line.position == 1)
    # 400 draws from four: the expected count is 100 with a standard deviation of 8.7; six of them is beyond chance.
    assert all(48 <= firsts[case] <= 152 for case in cases)


@pytest.mark.parametrize("field", ["reader", "period", "position", "case", "arm"])
def test_changing_any_field_of_any_line_changes_the_hash(field: str) -> None:
    lines = plan(body(), ["R01", "R02"], ["a", "b"], 3)
    value = getattr(lines[0], field)
    changed = [replace(lines[0], **{field: value + 10 if isinstance(value, int) else value + "x"}), *lines[1:]]
    assert plan_sha256(changed) != plan_sha256(lines)


def test_the_bodys_hash_does_not_depend_on_the_order_of_its_keys() -> None:
    assert body_sha256({"a": 1, "b": [2, 3]}) == body_sha256({"b": [2, 3], "a": 1})
    assert body_sha256({"a": 1, "b": [2, 3]}) != body_sha256({"a": 1, "b": [3, 2]})


@pytest.mark.parametrize(
    ("protocol", "readers", "cases", "message"),
    [
        (
            {"arms": [{"key": "a"}, {"key": "b"}], "periods": 3},
            ["r"],
            ["c"],
            "A crossover of 2 arms has 2 periods, not 3.",
        ),
        ({"arms": [{"key": "a"}, {"key": "a"}], "periods": 2}, ["r"], ["c"], "A plan needs arms with different keys."),
        ({"arms": [], "periods": 0}, ["r"], ["c"], "A plan needs arms with different keys."),
        ({"arms": [{"key": "a"}], "periods": 1}, ["r", "r"], ["c"], "A reader comes twice in the plan."),
        ({"arms": [{"key": "a"}], "periods": 1}, ["r"], ["c", "c"], "A case comes twice in the plan."),
    ],
    ids=["periods", "arm twice", "no arm", "reader twice", "case twice"],
)
def test_a_plan_that_cannot_be_made_is_refused_with_a_sentence(protocol, readers, cases, message) -> None:
    with pytest.raises(ValueError, match=message):
        plan(protocol, readers, cases, 1)
