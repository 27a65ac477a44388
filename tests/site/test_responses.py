"""What holds for every response of the site."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/accounts/login/", "/healthz/", "/static/study/site.css", "/no/such/page/"])
def test_every_response_isolates_the_page_and_allows_no_third_party(client: Client, path: str) -> None:
    response = client.get(path)
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy and "https:" not in policy


@pytest.mark.django_db
def test_health_says_what_answers(client: Client) -> None:
    response = client.get("/healthz/")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok", "redis": "not configured"}


@pytest.mark.django_db
def test_nobody_signs_themselves_up(client: Client) -> None:
    response = client.post("/accounts/signup/", {"username": "stranger", "password1": "a-long-passphrase"})
    from study.models import User

    assert not User.objects.exists()
    assert response.status_code == 200


@pytest.mark.django_db
def test_insert_or_replace_cannot_slip_past_the_triggers() -> None:
    from django.db import DatabaseError, connection

    from study.models import AuditEntry

    if connection.vendor != "sqlite":
        pytest.skip("INSERT OR REPLACE is SQLite's own")
    entry = AuditEntry.objects.create(actor=None, act="import", subject="first")
    with pytest.raises(DatabaseError, match="recorded once"), connection.cursor() as cursor:
        cursor.execute(
            "INSERT OR REPLACE INTO study_auditentry (id, act, subject, detail, created_at) "
            "VALUES (%s, %s, %s, %s, %s)",
            [entry.pk, "import", "second", "{}", "2026-01-01"],
        )
