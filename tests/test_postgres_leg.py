"""The tests that touch the database, once more on PostgreSQL: same code, another DATABASE_URL."""

from __future__ import annotations

import pytest

from tests.postgres import server_programs
from tests.postgres_leg import LEG, ROOT, SAME_ON_BOTH, Leg


def test_the_leg_names_what_exists() -> None:
    assert [path for path in [*LEG, *SAME_ON_BOTH] if not (ROOT / path).exists()] == []


@pytest.mark.postgres
@pytest.mark.timeout(900)
@pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server is installed")
def test_the_database_tests_pass_on_postgresql_too() -> None:
    status, output = Leg.begin().result()
    assert status == 0, output[-4000:]
    assert "passed" in output
