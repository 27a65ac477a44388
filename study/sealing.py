"""Triggers by which the database refuses what a state forbids, whoever asks and in whatever way.

Insert-only tables never change (`study.insert_only`). These tables do, up to a point: a protocol until it is locked, a
read until it is finished, a study only forwards, an enrolment in everything but whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


@dataclass(frozen=True)
class Seal:
    """Refuse `verb` on `table` when `condition` holds; OLD and NEW are the row before and after."""

    name: str
    table: str
    verb: str
    condition: str
    sentence: str


def _locked(protocol: str) -> str:
    return f"EXISTS (SELECT 1 FROM study_protocolversion p WHERE p.id = {protocol} AND p.locked_at IS NOT NULL)"


_MOVES = (("draft", "open"), ("open", "closed"), ("closed", "unblinded"))
_FORWARDS = " OR ".join(f"(OLD.state = '{a}' AND NEW.state = '{b}')" for a, b in _MOVES)

SEALS = [
    Seal(
        "study_protocol_sealed",
        "study_protocolversion",
        "UPDATE",
        "OLD.locked_at IS NOT NULL",
        "a locked protocol does not change; make a new version",
    ),
    Seal(
        "study_read_sealed",
        "study_read",
        "UPDATE",
        "OLD.state IN ('submitted', 'invalidated')",
        "a finished read does not change",
    ),
    Seal(
        "study_study_sealed",
        "study_study",
        "UPDATE",
        f"OLD.state <> NEW.state AND NOT ({_FORWARDS})",
        "a study moves only from draft to open to closed to unblinded",
    ),
    Seal(
        "study_enrolment_sealed",
        "study_enrolment",
        "UPDATE",
        "OLD.study_id <> NEW.study_id OR OLD.user_id <> NEW.user_id OR OLD.reader_code <> NEW.reader_code",
        "an enrolment keeps its study, its reader and its code",
    ),
    *[
        Seal(
            f"{table}_sealed_{verb.lower()}",
            table,
            verb,
            _locked("NEW.protocol_id") if verb == "INSERT" else f"{_locked('OLD.protocol_id')}",
            "what belongs to a locked protocol does not change; make a new version",
        )
        for table in ("study_arm", "study_period", "study_studycase")
        for verb in ("INSERT", "UPDATE")
    ],
]


def _create(vendor: str, seal: Seal) -> list[str]:
    on = f'CREATE TRIGGER "{seal.name}" BEFORE {seal.verb} ON "{seal.table}"'
    if vendor == "sqlite":
        return [f"{on} WHEN {seal.condition} BEGIN SELECT RAISE(ABORT, '{seal.sentence}'); END"]
    # A WHEN clause may hold no subquery on PostgreSQL, so the condition goes into the function.
    body = (
        f"IF {seal.condition} THEN RAISE EXCEPTION '{seal.sentence}' USING ERRCODE = 'integrity_constraint_violation'; "
        "END IF; RETURN NEW;"
    )
    return [
        f'CREATE FUNCTION "{seal.name}"() RETURNS trigger AS $$ BEGIN {body} END $$ LANGUAGE plpgsql',
        f'{on} FOR EACH ROW EXECUTE FUNCTION "{seal.name}"()',
    ]


def _drop(vendor: str, seal: Seal) -> list[str]:
    if vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{seal.name}"']
    return [f'DROP TRIGGER IF EXISTS "{seal.name}" ON "{seal.table}"', f'DROP FUNCTION IF EXISTS "{seal.name}"()']


def seal(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    for one in SEALS:
        for sql in _create(editor.connection.vendor, one):
            editor.execute(sql, params=None)


def unseal(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    for one in SEALS:
        for sql in _drop(editor.connection.vendor, one):
            editor.execute(sql, params=None)


@contextmanager
def unsealed(database: BaseDatabaseWrapper = connection) -> Iterator[None]:
    """Without these triggers, for the audited erasure command and for tests that tamper. Nothing else."""
    with database.cursor() as cursor:
        for one in SEALS:
            for sql in _drop(database.vendor, one):
                cursor.execute(sql)
        try:
            yield
        finally:
            for one in SEALS:
                for sql in _create(database.vendor, one):
                    cursor.execute(sql)
