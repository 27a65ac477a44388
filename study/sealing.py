"""Triggers by which the database refuses what a state forbids, whoever asks and in whatever way.

Insert-only tables never change (`study.insert_only`). These tables do, up to a point: a protocol until it is locked, a
read until it is finished, a study only forwards, an enrolment in everything but whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, migrations
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

#: Those of the first migration, and so never added to: a new one comes with a migration of its own.
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


#: A locked protocol is not taken apart either.
DELETE_SEALS = [
    *[
        Seal(
            f"{table}_sealed_delete",
            table,
            "DELETE",
            _locked("OLD.protocol_id"),
            "what belongs to a locked protocol is not deleted; make a new version",
        )
        for table in ("study_arm", "study_period", "study_studycase")
    ],
    Seal(
        "study_protocol_sealed_delete",
        "study_protocolversion",
        "DELETE",
        "OLD.locked_at IS NOT NULL",
        "a locked protocol is not deleted; make a new version",
    ),
]


def _create(vendor: str, seal: Seal) -> list[str]:
    on = f'CREATE TRIGGER "{seal.name}" BEFORE {seal.verb} ON "{seal.table}"'
    if vendor == "sqlite":
        return [f"{on} WHEN {seal.condition} BEGIN SELECT RAISE(ABORT, '{seal.sentence}'); END"]
    # A WHEN clause may hold no subquery on PostgreSQL, so the condition goes into the function. A trigger before DELETE
    # that returns NEW, which is null there, would drop the deletion without a word.
    body = (
        f"IF {seal.condition} THEN RAISE EXCEPTION '{seal.sentence}' USING ERRCODE = 'integrity_constraint_violation'; "
        f"END IF; RETURN {'OLD' if seal.verb == 'DELETE' else 'NEW'};"
    )
    return [
        f'CREATE FUNCTION "{seal.name}"() RETURNS trigger AS $$ BEGIN {body} END $$ LANGUAGE plpgsql',
        f'{on} FOR EACH ROW EXECUTE FUNCTION "{seal.name}"()',
    ]


def _drop(vendor: str, seal: Seal) -> list[str]:
    drop = _drop_trigger(vendor, seal.name, seal.table)
    return [drop] if vendor == "sqlite" else [drop, f'DROP FUNCTION IF EXISTS "{seal.name}"()']


def _drop_trigger(vendor: str, name: str, table: str) -> str:
    return f'DROP TRIGGER IF EXISTS "{name}"' + ("" if vendor == "sqlite" else f' ON "{table}"')


def sealing(seals: Sequence[Seal]) -> migrations.RunPython:
    """A migration operation that puts these seals on their tables. A name has `_sealed` in it: see `sealed`."""

    def forwards(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
        for one in seals:
            for sql in _create(editor.connection.vendor, one):
                editor.execute(sql, params=None)

    def backwards(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
        for one in seals:
            for sql in _drop(editor.connection.vendor, one):
                editor.execute(sql, params=None)

    return migrations.RunPython(forwards, backwards)


def sealed(database: BaseDatabaseWrapper = connection) -> list[tuple[str, str, str]]:
    """(name, table, the SQL that makes it) of every seal in the database, as the database itself knows them."""
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            cursor.execute(
                "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_sealed%' "
                "ORDER BY name"
            )
        else:
            cursor.execute(
                "SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t "
                "JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgname LIKE '%_sealed%' ORDER BY t.tgname"
            )
        return [(name, table, sql) for name, table, sql in cursor.fetchall()]


@contextmanager
def unsealed(database: BaseDatabaseWrapper = connection) -> Iterator[None]:
    """Without the seals, those of the rooms above too: for the audited erasure command, for the test suite's flush and
    for tests that tamper. Nothing else.
    """
    seals = sealed(database)
    with database.cursor() as cursor:
        for name, table, _sql in seals:
            cursor.execute(_drop_trigger(database.vendor, name, table))
        try:
            yield
        finally:
            for _name, _table, sql in seals:
                cursor.execute(sql)
