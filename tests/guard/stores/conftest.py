"""Every store, reached from threads and from an event loop. A further store is a further branch of ``place``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.guard.stores.places import MemoryPlace, PostgresPlace, SqlitePlace, Verbs
from tests.guard.stores.valkey.place import ValkeyPlace


@pytest.fixture(params=["memory", "sqlite", "postgres", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "postgres":
        made: Any = PostgresPlace(request.getfixturevalue("guard_url"))
    elif request.param == "sqlite":
        made = SqlitePlace(tmp_path / "guard.db")
    elif request.param == "valkey":
        made = ValkeyPlace(request.getfixturevalue("servers").endpoints.valkey_url)
    else:
        made = MemoryPlace()
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def verbs(request: pytest.FixtureRequest, place: Any) -> Iterator[Verbs]:
    made = Verbs(place, is_async=request.param == "async")
    yield made
    made.close()
