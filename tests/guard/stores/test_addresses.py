"""Addresses that cannot be read, and files that cannot be used: told at once, with a way out."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from valhalla.guard import Guard
from valhalla.guard.contracts import BeginRequest, Effect
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.postgres.threads import Threads
from valhalla.guard.stores.sqlite import SqliteStore
from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kernel.problems import Invalid, Unavailable


@pytest.mark.parametrize(
    ("store", "help_"), [(PostgresStore, "postgresql://"), (ValkeyStore, "redis://")], ids=["postgres", "valkey"]
)
def test_an_address_that_cannot_be_read_is_told_when_the_store_is_made(store: type, help_: str) -> None:
    with pytest.raises(Invalid) as told:
        store("app:secret@localhost/app")
    assert help_ in told.value.advice
    assert "secret" not in f"{told.value}{told.value.__cause__}"


def test_an_error_of_the_driver_itself_ends_the_call() -> None:
    """It has no code of the server's, and was its own cause: who looked for one never came back."""
    request = BeginRequest(id="1", name="pay", effect=Effect.NONE, key="k", fingerprint=b"", principal="ana")
    with pytest.raises(psycopg.ProgrammingError) as told:
        Threads("localhost/app", "guard", lanes=1).combiner.submit(request)
    assert told.value.__cause__ is not told.value


def test_a_file_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 1000)
    for path in (tmp_path / "no" / "folder", tmp_path / "text", tmp_path):
        with pytest.raises(Unavailable) as told:
            Guard(SqliteStore(path)).setup()
        assert "disk" in told.value.advice
