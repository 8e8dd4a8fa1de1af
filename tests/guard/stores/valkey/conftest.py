"""A Valkey of this folder's own: it is killed, cut off and told to forget."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from valhalla.embedded import Stack
from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey

Make = Callable[..., ValkeyStore]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="vh-test-"))
    folder.chmod(0o711)
    made = Stack(folder, CellKey.load_or_create(folder / "cell.key"), want=frozenset({"valkey"}))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture
def url(stack: Stack) -> str:
    """The server, made durable: every step is on disk before it is answered."""
    found = stack.endpoints.valkey_url
    assert found is not None
    with Redis.from_url(found) as server:
        server.config_set("appendfsync", "always")
    return found


@pytest.fixture
def server(url: str) -> Iterator[Redis]:
    """The administrator's own connection."""
    with Redis.from_url(url) as made:
        yield made


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    """Make stores that share nobody's keys but this test's."""
    tenant, stores = new_id(), list[ValkeyStore]()

    def made(at: str = url, **options: object) -> ValkeyStore:
        store = ValkeyStore(at, **{"tenant": tenant, **options})  # pyright: ignore[reportArgumentType]
        stores.append(store)
        return store

    yield made
    for store in stores:
        store.close()
