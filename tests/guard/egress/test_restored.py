"""What the block wraps it gives back, and it loads nothing of its own accord."""

from __future__ import annotations

import http.client
import smtplib
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpcore
import psycopg
import pytest
import redis
import redis.connection
import requests
import requests.adapters

from valhalla.guard.egress import sealed


def test_everything_is_restored_exactly() -> None:
    places = [
        (http.client.HTTPConnection, "request"),
        (httpcore.ConnectionPool, "handle_request"),
        (requests.adapters.HTTPAdapter, "send"),
        (smtplib.SMTP, "sendmail"),
        (redis.connection.AbstractConnection, "send_packed_command"),
        (psycopg.BaseConnection, "_connect_gen"),
        (psycopg.Cursor, "execute"),
        (sqlite3, "connect"),
        (threading.Thread, "start"),
        (ThreadPoolExecutor, "submit"),
        (ThreadPoolExecutor, "__init__"),
    ]
    before = [vars(owner)[name] for owner, name in places]
    finders = list(sys.meta_path)

    with sealed():
        assert all(vars(owner)[name] is not old for (owner, name), old in zip(places, before, strict=True))
        with sealed():
            pass
        assert vars(smtplib.SMTP)["sendmail"] is not before[3]

    assert [vars(owner)[name] for owner, name in places] == before
    assert sys.meta_path == finders


def test_what_somebody_else_wrapped_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with sealed():
        inner = smtplib.SMTP.sendmail

        def theirs(*args: object) -> object:
            return inner(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(smtplib.SMTP, "sendmail", theirs)
    assert vars(smtplib.SMTP)["sendmail"] is theirs


def test_a_library_that_is_imported_inside_gets_its_hooks() -> None:
    script = """
import sys
from valhalla.guard.egress import sealed, EgressBlocked
assert "smtplib" not in sys.modules
with sealed() as seal:
    import smtplib
    assert "smtplib" in seal.coverage.layers["L2"].reason
    hooked = smtplib.SMTP.sendmail
assert smtplib.SMTP.sendmail is not hooked
assert type(smtplib.__spec__.loader).__name__ == "SourceFileLoader" is not None
assert smtplib.__loader__ is smtplib.__spec__.loader
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_guard_costs_no_library_its_import() -> None:
    loaded = "[m for m in ('httpx', 'redis', 'sqlalchemy', 'psycopg', 'multiprocessing') if m in sys.modules]"
    script = f"import sys, valhalla.guard.egress; print({loaded})"
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
