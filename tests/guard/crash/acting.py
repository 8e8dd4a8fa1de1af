"""One guarded payment in a process that is killed at a named boundary, and what a later process finds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from valhalla.guard import Guard
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.sqlite import SqliteStore
from valhalla.guard.stores.valkey import ValkeyStore

BOUNDARIES = ("before begin", "after begin", "in the effect", "after the effect", "after finish")
# how often the effect happened, and what the next call must be told, if the process died there
EXPECTED = {
    "before begin": (1, "succeeded"),
    "after begin": (0, "indeterminate"),
    "in the effect": (0, "indeterminate"),
    "after the effect": (1, "indeterminate"),
    "after finish": (1, "replayed"),
}
SCHEMA = "crashing"
LEASE = 0.15

# a clean process to fork from: no threads, no connections, the imports done
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.guard.crash.acting"])
# a start looks after every other child: two threads that read the same child's end make its status 255
_FORKING = threading.Lock()


def store_of(kind: str, where: str) -> Any:
    """Return the store of this kind."""
    if kind == "valkey":
        url, _, tenant = where.partition("#")
        return ValkeyStore(url, tenant=tenant)
    return SqliteStore(where) if kind == "sqlite" else PostgresStore(where, schema=SCHEMA)


def die() -> None:
    """End without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Doomed:
    """A store whose process is killed right before or after a verb."""

    durable = True
    instant = False

    def __init__(self, store: Any, at: str) -> None:
        self._store = store
        self._at = at
        self.codec = store.codec

    def begin(self, request: Any) -> Any:
        if self._at == "before begin":
            die()
        answer = self._store.begin(request)
        if self._at == "after begin":
            die()
        return answer

    def cas(self, request: Any) -> Any:
        if self._at == "after the effect" and request.event == "finish":
            die()
        answer = self._store.cas(request)
        if self._at == "after finish" and request.event == "finish":
            die()
        return answer

    def scan(self, query: Any) -> Any:
        return self._store.scan(query)

    def close(self) -> None:
        self._store.close()


def guarded(store: Any, log: Path, at: str = "", *, effect: str = "irreversible") -> tuple[Guard, Any]:
    """Return a guard and its payment, which writes a line into ``log`` when it happens."""
    guard = Guard(store, patience=0.0)

    @guard.action("payment", key="order", lease=LEASE, heartbeat=False, effect=effect)
    def pay(order: str) -> str:
        if at == "in the effect":
            die()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{order}\n".encode())
        os.close(descriptor)
        return order

    return guard, pay


def pay_and_die(kind: str, where: str, log: str, at: str, effect: str, orders: list[str]) -> None:
    """Pay, and be killed at the boundary of the last order."""
    store = store_of(kind, where)
    for order in orders[:-1]:
        guarded(store, Path(log), effect=effect)[1](order)
    guarded(Doomed(store, at), Path(log), at, effect=effect)[1](orders[-1])


def crash(kind: str, where: str, log: Path, at: str, orders: list[str], effect: str = "irreversible") -> None:
    """Run it in a process of its own and see it killed."""
    process = FORKS.Process(target=pay_and_die, args=(kind, where, str(log), at, effect, orders))
    with _FORKING:
        process.start()
    assert wait([process.sentinel], 60), "it lives on"
    with _FORKING:
        process.join(0)
        assert process.exitcode == -signal.SIGKILL


def happened(log: Path, order: str) -> int:
    """Return how often the effect of this order happened."""
    return log.read_text().splitlines().count(order) if log.exists() else 0
