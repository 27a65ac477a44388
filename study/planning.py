"""Who reads what, in which arm, in which order: a pure function of the protocol, the readers, the cases and a seed.

Every "random" order here sorts by a SHA-256 of the seed and the names. So a plan depends on nothing else: not on the
order in which readers and cases come, not on the version of a random generator, not on the machine.

The crossover is the counterbalanced one of MRMC practice: with k arms and k periods the cases fall into k groups and
the readers into k groups; in period p, a reader of group i reads the cases of group j in arm (i + j + p) mod k. With
two arms, every reader reads half the cases A-B and the other half B-A, and every case is read A-B by half the
readers, so neither the period nor the group is confounded with the arm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Line:
    """One line of a plan. `period` and `position` (within the reader's period) count from 1."""

    reader: str
    period: int
    position: int
    case: str
    arm: str


def plan(protocol_body: Mapping[str, Any], readers: Iterable[str], cases: Iterable[str], seed: int) -> list[Line]:
    """The whole plan, sorted by reader, period and position.

    Parameters
    ----------
    protocol_body
        `arms` (each with its `key`) and `periods` are read. One arm and one period: every reader reads each case once.
        k arms and k periods: every reader reads each case once in each arm, never twice in a period.
    readers, cases
        Distinct names; their order does not matter.
    seed
        The protocol's.

    Raises
    ------
    ValueError
        Where arms and periods do not match, or a name comes twice.
    """
    arms = [arm["key"] for arm in protocol_body["arms"]]
    periods = int(protocol_body["periods"])
    readers, cases = _distinct("reader", readers), _distinct("case", cases)
    if len(set(arms)) != len(arms) or not arms:
        raise ValueError("A plan needs arms with different keys.")
    if periods != len(arms):
        raise ValueError(f"A crossover of {len(arms)} arms has {len(arms)} periods, not {periods}.")
    k = len(arms)
    reader_group = {reader: i % k for i, reader in enumerate(shuffled(readers, seed, "readers"))}
    case_group = {case: j % k for j, case in enumerate(shuffled(cases, seed, "cases"))}
    return [
        Line(reader, period, position, case, arms[(reader_group[reader] + case_group[case] + period - 1) % k])
        for reader in sorted(readers)
        for period in range(1, periods + 1)
        for position, case in enumerate(shuffled(cases, seed, "order", reader, str(period)), start=1)
    ]


def _distinct(what: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if len(set(names)) != len(names):
        raise ValueError(f"A {what} comes twice in the plan.")
    return names


def shuffled(names: Sequence[str], seed: int, *purpose: str) -> list[str]:
    """The names in an order that looks random and depends on the seed, the purpose and the names alone."""
    return sorted(names, key=lambda name: (hashlib.sha256(canonical([seed, *purpose, name])).digest(), name))


def canonical(value: Any) -> bytes:
    """The one byte form of a JSON value that hashes are taken of: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def body_sha256(protocol_body: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical protocol body."""
    return hashlib.sha256(canonical(dict(protocol_body))).hexdigest()


def plan_sha256(lines: Iterable[Line]) -> str:
    """SHA-256 (hex) of the canonical plan, whatever order its lines come in."""
    return hashlib.sha256(canonical([asdict(line) for line in sorted(lines)])).hexdigest()
