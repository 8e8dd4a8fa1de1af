"""A client that does what users do, remembers what it was told, and asks again when it was told nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import psycopg
import redis
from tests.chaos.world import World

from valhalla.sandbox.slices.nats_admin import echo

# answers that say "not now"; whatever was asked may have happened
_UNSURE = (409, 503)


class PromiseError(AssertionError):
    """The product broke a promise."""


@dataclass
class Held:
    """A sandbox as its client knows it. ``marker``: what was last written into it for sure."""

    key: str
    id: str | None = None
    connection: dict[str, Any] = field(default_factory=dict)
    marker: int | None = None
    state: str = "asked"
    ends: float | None = None


class Client(threading.Thread):
    """One user in a thread; ``failure`` holds what went wrong."""

    def __init__(self, world: World, seed: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.world, self.random, self.stop = world, Random(seed), stop
        self.label = seed.rpartition(":")[2]
        self.all: list[Held] = []
        self.failure: BaseException | None = None
        self.done: dict[str, int] = {}

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self._step()
                time.sleep(self.random.uniform(0, 0.1))
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error
            self.stop.set()

    def _step(self) -> None:
        live = [held for held in self.all if held.state == "live"]
        verbs = ["create"] * 4 + (["use", "use", "check", "extend", "reset", "destroy", "destroy"] if live else [])
        if len(live) > 12:
            verbs = ["destroy"]
        verb = self.random.choice(verbs)
        if verb == "create":
            self.create()
        else:
            getattr(self, verb)(self.random.choice(live))
        self.done[verb] = self.done.get(verb, 0) + 1

    def ask(self, method: str, path: str, **said: Any) -> httpx.Response | None:
        """Send a request to any plane; ``None`` when nobody knows what became of it."""
        client = self.world.http(self.random)
        if client is None:
            time.sleep(0.1)
            return None
        with client:
            try:
                answer = client.request(method, path, **said)
            except httpx.TransportError:
                return None
        if answer.status_code >= 500 and answer.status_code != 503:
            raise PromiseError(f"{method} {path}: {answer.status_code} {answer.text}")
        if answer.status_code == 503 and not answer.json().get("detail"):
            raise PromiseError(f"{method} {path}: a problem without a reason: {answer.text}")
        return None if answer.status_code in _UNSURE else answer

    def insist(self, method: str, path: str, *, seconds: float = 60, **said: Any) -> httpx.Response:
        """Ask until there is an answer."""
        end = time.monotonic() + seconds
        while (answer := self.ask(method, path, **said)) is None:
            if time.monotonic() > end:
                raise PromiseError(f"{method} {path}: no answer within {seconds} s")
            time.sleep(0.1)
        return answer

    def create(self) -> None:
        """Make a sandbox; what stays unknown is asked for again with the same key, now or at the end."""
        held = Held(key=f"{self.label}-{len(self.all)}")
        self.all.append(held)
        self.claim(held)

    def claim(self, held: Held) -> None:
        """Send the create of ``held`` once."""
        short = hash_of(held.key) % 5 == 0
        body = {
            "template": ("empty", "community", "community", "apart")[hash_of(held.key) % 4],
            "ttl": "3s" if short else "1h",
            "owner": f"chaos-{self.label}",
        }
        answer = self.ask("POST", "/api/sandboxes", json=body, headers={"Idempotency-Key": held.key})
        if answer is None:
            return
        if answer.status_code != 201:
            raise PromiseError(f"create {held.key}: {answer.status_code} {answer.text}")
        made = answer.json()
        if held.id not in (None, made["id"]):
            raise PromiseError(f"{held.key} was {held.id} and is {made['id']} now")
        held.id, held.connection = made["id"], made.get("connection") or {}
        # a repeated request may find a short-lived one ended
        held.state = "short" if short else "live" if held.connection else "gone"
        self.world.note(f"{held.key} is {held.id}, {held.state}")
        if held.state == "gone":
            raise PromiseError(f"{held.key} is {made['status']}; nobody destroyed it")

    def use(self, held: Held) -> None:
        """Work in all three backends with the sandbox's own credentials; a backend may be away at any time."""
        end = time.monotonic() + 40
        while True:
            try:
                self._write(held)
                return
            except (psycopg.Error, redis.RedisError, OSError, TimeoutError) as error:
                if time.monotonic() > end:
                    raise PromiseError(f"{held.key} ({held.id}) does not work: {error!r}") from error
                time.sleep(0.2)

    def _write(self, held: Held) -> None:
        number = self.random.randrange(10**9)
        with psycopg.connect(held.connection["postgres"]["url"], connect_timeout=5) as sql:
            sql.execute("CREATE TABLE IF NOT EXISTS marker (number int)")
            sql.execute("DELETE FROM marker")
            sql.execute("INSERT INTO marker VALUES (%s)", [number])
        held.marker = number
        with redis.Redis.from_url(held.connection["valkey"]["url"], socket_timeout=5) as cache:
            cache.set(held.connection["valkey"]["prefix"] + "marker", number)
        if self.random.random() < 0.3:
            nats = held.connection["nats"]
            subject = f"{nats['prefix']}chaos"
            try:
                asyncio.run(
                    asyncio.wait_for(echo(nats["url"], nats["creds"], subject, inbox_prefix=nats["inbox_prefix"]), 5)
                )
            except Exception as error:
                raise OSError(f"nats: {error!r}") from error

    def check(self, held: Held) -> None:
        """Look for what was written last."""
        if held.marker is None:
            return
        end = time.monotonic() + 40
        while True:
            try:
                with psycopg.connect(held.connection["postgres"]["url"], connect_timeout=5) as sql:
                    row = sql.execute("SELECT number FROM marker").fetchone()
                if row != (held.marker,):
                    raise PromiseError(f"{held.key} ({held.id}) had {held.marker} and has {row}")
                return
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors.UndefinedTable) or time.monotonic() > end:
                    raise PromiseError(f"{held.key} ({held.id}) lost its data: {error!r}") from error
                time.sleep(0.2)

    def extend(self, held: Held) -> None:
        """Ask for more time."""
        answer = self.ask("POST", f"/api/sandboxes/{held.id}/extend", json={"ttl": "1h"})
        if answer is not None and answer.status_code != 200:
            raise PromiseError(f"extend {held.key}: {answer.status_code} {answer.text}")

    def reset(self, held: Held) -> None:
        """Empty it; repeated until it is certain, since a reset that failed half-way leaves anything."""
        held.marker = None
        answer = self.insist("POST", f"/api/sandboxes/{held.id}/reset")
        if answer.status_code != 200:
            raise PromiseError(f"reset {held.key}: {answer.status_code} {answer.text}")

    def destroy(self, held: Held) -> None:
        """End it; unknown ends are repeated at the end of the test."""
        held.state = "ending"
        answer = self.ask("DELETE", f"/api/sandboxes/{held.id}")
        if answer is None:
            return
        if answer.status_code not in (200, 202):
            raise PromiseError(f"destroy {held.key}: {answer.status_code} {answer.text}")
        held.state = "gone"
        try:
            psycopg.connect(held.connection["postgres"]["url"], connect_timeout=5).close()
        except psycopg.OperationalError:
            return
        raise PromiseError(f"{held.key} ({held.id}) lets its user in after its end")

    def settle(self) -> None:
        """After the last fault: learn what became of everything that was asked for."""
        for held in self.all:
            end = time.monotonic() + 60
            while held.state == "asked":
                self.claim(held)
                if held.state == "asked":
                    if time.monotonic() > end:
                        raise PromiseError(f"{held.key} stays unknown")
                    time.sleep(0.2)
            if held.state == "ending":
                answer = self.insist("DELETE", f"/api/sandboxes/{held.id}", params={"wait": 10})
                if answer.status_code not in (200, 202):
                    raise PromiseError(f"destroy {held.key}: {answer.status_code} {answer.text}")
                held.state = "gone"


def hash_of(text: str) -> int:
    """Return the same small number in every process, unlike ``hash``."""
    return sum(ord(letter) * (index + 7) for index, letter in enumerate(text))
