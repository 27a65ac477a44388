"""Triggers by which the database itself refuses to change what was recorded.

A migration of the owning app lists its tables::

    operations = [insert_only("study_response", "study_mark")]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_MESSAGE = "{table} rows are recorded once; insert a new row instead"

_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION gazeroom_refuse() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION '% rows are recorded once; insert a new row instead', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$ LANGUAGE plpgsql
"""


def _create(vendor: str, table: str) -> list[str]:
    if vendor == "sqlite":
        return [
            f'CREATE TRIGGER IF NOT EXISTS "{table}_refuse_{verb}" BEFORE {verb.upper()} ON "{table}" '
            f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE.format(table=table)}'); END"
            for verb in ("update", "delete")
        ]
    return [
        _POSTGRES_FUNCTION,
        (
            f'CREATE OR REPLACE TRIGGER "{table}_refuse_row" BEFORE UPDATE OR DELETE ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION gazeroom_refuse()"
        ),
        (
            f'CREATE OR REPLACE TRIGGER "{table}_refuse_truncate" BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION gazeroom_refuse()"
        ),
    ]


def _drop(vendor: str, table: str) -> list[str]:
    if vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{table}_refuse_{verb}"' for verb in ("update", "delete")]
    return [f'DROP TRIGGER IF EXISTS "{table}_refuse_{what}" ON "{table}"' for what in ("row", "truncate")]


def insert_only(*tables: str) -> migrations.RunPython:
    """A migration operation that makes the tables refuse UPDATE and DELETE (PostgreSQL: TRUNCATE too)."""

    def forwards(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
        for table in tables:
            for sql in _create(editor.connection.vendor, table):
                editor.execute(sql, params=None)

    def backwards(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
        for table in tables:
            for sql in _drop(editor.connection.vendor, table):
                editor.execute(sql, params=None)

    return migrations.RunPython(forwards, backwards)


def guarded_tables(database: BaseDatabaseWrapper = connection) -> list[str]:
    """The tables that refuse changes, as the database itself knows them."""
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            cursor.execute("SELECT tbl_name FROM sqlite_master WHERE type='trigger' AND name LIKE '%_refuse_delete'")
        else:
            cursor.execute(
                "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "WHERE t.tgname LIKE '%_refuse_row'"
            )
        return [row[0] for row in cursor.fetchall()]


@contextmanager
def lifted(database: BaseDatabaseWrapper = connection) -> Iterator[None]:
    """Without the triggers, for the test suite's own flush (and, when there is one, an audited erasure command)."""
    tables = guarded_tables(database)
    with database.cursor() as cursor:
        for table in tables:
            for sql in _drop(database.vendor, table):
                cursor.execute(sql)
        try:
            yield
        finally:
            for table in tables:
                for sql in _create(database.vendor, table):
                    cursor.execute(sql)
