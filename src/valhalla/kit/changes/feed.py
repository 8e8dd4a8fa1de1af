"""Follow registries: NOTIFY wakes, the revision says what is missing, a slow poll covers the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy.engine import Connection

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.changes.snapshot import Snapshot, successor
from valhalla.kit.changes.view import View
from valhalla.kit.db import Database
from valhalla.kit.listening import Link, listening
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.kit.registry.store import CHANNEL, revisions
from valhalla.kit.waiting import Backoff, first_of

P = ParamSpec("P")
V = TypeVar("V")
Listener = Callable[[Snapshot[Any]], None]

log = get_logger("changes")
_BATCH: Final = 1000
_PATIENCE: Final = 5.0


class Feed:
    """Snapshots of registries that follow every commit of every process (typically within milliseconds).

    When the connection is lost the last snapshots stay and ``stale_for`` counts; then it catches up by revision.
    """

    def __init__(self, db: Database, registries: Sequence[Registry[Any]] = (), *, poll: float = 5.0) -> None:
        """``poll`` in seconds: how often it looks without having been told, and asks for a sign of life."""
        self._db = db
        self._poll = poll
        self._registries: dict[str, Registry[Any]] = {}
        self._snapshots: dict[str, Snapshot[Any]] = {}
        self._views: dict[str, list[View[Any]]] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._attended: dict[str, Callable[[int], None]] = {}
        self._told: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._linked = False
        self._fresh_at = time.monotonic()
        self._reconnects = 0
        self._error: str | None = None
        self._faults: dict[str, str] = {}
        self.beat: Callable[[], None] = lambda: None
        """Called whenever the snapshots are known to be current, or it is waited for."""
        for registry in registries:
            self.add(registry)

    def add(self, registry: Registry[Any]) -> None:
        """Follow one more registry; before ``start``.

        Raises:
            ValueError: another one has its name.
        """
        if registry.name in self._registries:
            raise ValueError(f"two registries are called '{registry.name}'")
        self._registries[registry.name] = registry
        self._snapshots[registry.name] = Snapshot(registry.name)
        self._views[registry.name] = []
        self._listeners[registry.name] = []

    def attend(self, registry: str, told: Callable[[int], None]) -> None:
        """Tell ``told`` the revision of a registry that is not followed, at every commit and every look.

        For who keeps something of its own, of a registry that is too large for a snapshot.
        """
        self._attended[registry] = told

    def registry(self, name: str) -> Registry[Any] | None:
        """Return the registry of this name, if it is followed."""
        return self._registries.get(name)

    @property
    def names(self) -> list[str]:
        """The registries that are followed, by name."""
        return sorted(self._registries)

    async def start(self) -> None:
        """Load full snapshots and begin to follow; returns when changes are being heard.

        Raises:
            Unavailable: the database cannot be reached.
            Misconfigured: a stored record does not fit this release.
        """
        for name in self._registries:
            await self._load(name)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop.clear()
        self._task = asyncio.create_task(self._run(ready), name="change-feed")
        await ready

    async def stop(self) -> None:
        """Stop following and close the connection; the snapshots stay readable."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._linked = False

    def snapshot(self, registry: str) -> Snapshot[Any]:
        """Return a registry's newest snapshot; revision 0 without records before ``start``."""
        return self._snapshots[registry]

    def revision(self, registry: str) -> int:
        """Return the revision of a registry's newest snapshot."""
        return self._snapshots[registry].revision

    def view(self, registry: str, build: Callable[[Snapshot[Any]], V]) -> View[V]:
        """Return a value derived from a registry that is rebuilt on every change. ``build`` must be pure and quick."""
        view = View(build, self._snapshots[registry])
        self._views[registry].append(view)
        return view

    def subscribe(self, registry: str, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every new snapshot, on the event loop; returns what ends that."""
        self._listeners[registry].append(listener)
        return lambda: self._listeners[registry].remove(listener)

    @property
    def stale_for(self) -> float | None:
        """Seconds since the snapshots were last known to be current, ``None`` while changes are being heard."""
        return None if self._linked else time.monotonic() - self._fresh_at

    def fault(self, registry: str) -> str | None:
        """Return why a registry's snapshot or a view of it is not the newest, None while it is."""
        if (fault := self._faults.get(registry)) is not None:
            return fault
        return "a view keeps its old value" if any(view.failed for view in self._views[registry]) else None

    def status(self) -> dict[str, Any]:
        """Describe the feed for ``/ready`` and ``/metrics``."""
        stale = self.stale_for
        broken = [name for name, views in self._views.items() if any(view.failed for view in views)]
        return {
            "ok": stale is None and not broken and not self._faults,
            "stale_for": stale,
            "reconnects": self._reconnects,
            "error": self._error,
            "faults": dict(self._faults),
            "failed_views": broken,
            "revisions": {name: snapshot.revision for name, snapshot in self._snapshots.items()},
        }

    async def refresh(self) -> None:
        """Read now what is committed, instead of waiting to be told.

        Raises:
            Unavailable: the database cannot be reached.
        """
        await self._catch_up(self._registries)

    async def _run(self, ready: asyncio.Future[None]) -> None:
        backoff = Backoff(0.1, 5.0)
        while not self._stop.is_set():
            try:
                async with listening(self._db, CHANNEL, self._hear) as link:
                    # what was committed before LISTEN took effect is found by revision
                    await self._catch_up(self._registries)
                    self._linked, self._error = True, None
                    backoff.reset()
                    if not ready.done():
                        ready.set_result(None)
                    await self._follow(link)
            except Exception as error:  # noqa: BLE001 - told to the starter or logged by _lose; it never dies
                if not ready.done():
                    ready.set_exception(error)
                    return
                self._lose(error)
            self.beat()
            await first_of(self._stop, seconds=backoff.next())
            self._reconnects += 1

    async def _follow(self, link: Link) -> None:
        self.beat()
        while not self._stop.is_set():
            if await first_of(self._wake, link.lost, self._stop, seconds=self._poll):
                if link.lost.is_set():
                    raise Unavailable("postgres", "the listening connection to Postgres is lost")
                self._wake.clear()
                told, self._told = self._told, dict[str, int]()
                async with self._lock:
                    # somebody may have read it since it was heard
                    await self._move({name: head for name, head in told.items() if head > self.revision(name)})
            else:
                await link.check()
                await self._catch_up(self._registries)
            self._fresh_at = time.monotonic()
            self.beat()

    def _lose(self, error: Exception) -> None:
        self._linked = False
        self._error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
        if isinstance(error, Unavailable):
            log.warning("the change feed reconnects; snapshots are kept", error=self._error)
        else:
            log.error("the change feed failed and begins again", exc_info=error)

    def _hear(self, payload: str) -> None:
        name, _, revision = payload.rpartition(":")
        if (told := self._attended.get(name)) is not None and revision.isdigit():
            told(int(revision))
        snapshot = self._snapshots.get(name)
        if snapshot is None or not revision.isdigit() or int(revision) <= snapshot.revision:
            return
        self._told[name] = int(revision)
        self._wake.set()

    async def _catch_up(self, names: Collection[str]) -> None:
        async with self._lock:
            heads = await self._read(revisions, [*names, *self._attended])
            for name, told in self._attended.items():
                told(heads.get(name, 0))
            await self._move({name: heads.get(name, 0) for name in names})

    async def _move(self, heads: Mapping[str, int]) -> None:
        for name, head in heads.items():
            try:
                await self._advance(name, head)
            except Misconfigured as problem:
                # one record of a newer release must not stop the other registries
                if self._faults.get(name) != problem.detail:
                    log.error("a registry keeps its old snapshot", registry=name, error=problem.detail)
                self._faults[name] = problem.detail
            else:
                self._faults.pop(name, None)
        self._fresh_at = time.monotonic()

    async def _advance(self, name: str, head: int) -> None:
        registry = self._registries[name]
        if head < self._snapshots[name].revision:
            # the database was restored from a backup
            await self._load(name)
        while (snapshot := self._snapshots[name]).revision < head:
            changes = await self._read(registry.since, snapshot.revision, _BATCH)
            if not changes or changes[0].revision != snapshot.revision + 1:
                # history was pruned past what this process has seen
                await self._load(name)
                return
            self._swap(successor(snapshot, registry, changes))

    async def _load(self, name: str) -> None:
        revision, records = await self._read(self._registries[name].load)
        self._swap(Snapshot[Any].owning(name, revision, {record.key: record for record in records}))

    async def _read(self, f: Callable[Concatenate[Connection, P], V], *args: P.args, **kwargs: P.kwargs) -> V:
        try:
            # a pooled connection can be half-open too
            async with asyncio.timeout(_PATIENCE):
                return await self._db.read(f, *args, **kwargs)
        except TimeoutError as error:
            raise Unavailable("postgres", f"Postgres did not answer within {_PATIENCE:g} s") from error

    def _swap(self, snapshot: Snapshot[Any]) -> None:
        self._snapshots[snapshot.registry] = snapshot
        for view in self._views[snapshot.registry]:
            view.rebuild(snapshot)
        for listener in tuple(self._listeners[snapshot.registry]):
            try:
                listener(snapshot)
            except Exception:
                log.exception("a listener of the change feed failed", registry=snapshot.registry)
