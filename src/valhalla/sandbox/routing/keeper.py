"""The keeper of routes: brings what ingresses do to what Postgres says, after crashes and while backends were away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of
from valhalla.sandbox import store
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import ROUTES_STREAM, STREAM, Record, Sizes
from valhalla.sandbox.routing.effects import Routing
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lags import lane_lags
from valhalla.sandbox.routing.lanes import close_lane, counts, trim_lane
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.table import RouteTable
from valhalla.sandbox.routing.watching import Watch
from valhalla.sandbox.routing.weighing import Scales

_log = get_logger("sandbox.routing.keeper")
# a claim that is under way writes in the meantime; what is found twice is nobody's work
_TWICE: Final = 2


class Keeper:
    """Looks every ``interval`` seconds; several processes may run one each, for every write is compared and set."""

    def __init__(
        self,
        db: Database,
        claims: Claims,
        routing: Routing,
        sizes: Sizes,
        watch: Watch,
        *,
        interval: float = 10.0,
    ) -> None:
        self._db = db
        self._claims = claims
        self._routing = routing
        self._sizes = sizes
        self._watch = watch
        self._interval = interval
        self._suspects: dict[tuple[str, str], int] = {}
        self.lanes: Mapping[str, int] = {}
        """Events in each lane, by sandbox, as last seen."""
        self.scales = Scales(sizes.lane_bytes)
        self.repaired = 0
        self.trimmed = 0
        self.beat: Callable[[], None] = lambda: None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.once()
            except Unavailable as problem:
                _log.warning("the keeper of routes waits for a backend", error=problem.detail)
            except Exception:  # noqa: BLE001 - a loop that dies would leave routes wrong for ever
                _log.exception("the keeper of routes failed and will try again")
            self.beat()
            await first_of(stop, seconds=self._interval * random.uniform(0.8, 1.2))  # noqa: S311

    async def once(self) -> int:
        """Compare once and return how many routes were brought right.

        Raises:
            Unavailable: a backend does not answer.
        """
        link, _ = await self._claims.connected()
        table = await read_table(link)
        # Postgres after the stream: what was linked in between is not taken for nobody's
        linked: Any = await self._db.read(store.linked_running)
        wanted = {_where(route): (sandbox_id, ends, route) for sandbox_id, ends, route in linked if _known(route)}
        present = {(source, key): record for source, key, record, _ in table.claimed()}
        wrong = {
            where: (wanted.get(where), present.get(where))
            for where in {*wanted, *present}
            if not _agree(wanted.get(where), present.get(where))
        }
        self._suspects = {where: self._suspects.get(where, 0) + 1 for where in wrong}
        done = 0
        for where, (want, have) in wrong.items():
            if self._suspects[where] >= _TWICE:
                done += await self._repair(where, want, have)
        self.repaired += done
        await self._lanes(link)
        return done

    async def _repair(self, where: tuple[str, str], want: Any, have: Record | None) -> bool:
        try:
            if want is None:
                assert have is not None
                if have.sandbox is None:
                    # held for a claim whose claimer is gone
                    return await self._claims.unhold(have.kind, where[1])
                await self._routing.unlinked(have.sandbox, [Route(have.kind, where[1])], "drain")
            else:
                sandbox_id, _, route = want
                sandbox = await self._db.read(store.find, sandbox_id)
                if sandbox is None or sandbox.status != "running":
                    return False
                await self._routing.linked(sandbox, [route])
        except Problem as problem:
            _log.warning("a route could not be brought right", source=where[0], error=problem.detail)
            return False
        return True

    async def _lanes(self, link: Link) -> None:
        """Close the lanes of ended sandboxes, and keep those of others within their quota."""
        # before lanes are listed: what it finds is on lanes that are listed then
        await self.scales.look(link)
        lags = await lane_lags(link)
        names = list(lags)
        running: set[str] = await self._db.read(store.running_of, names) if names else set()
        lanes: dict[str, int] = {}
        trimmed: dict[str, int] = {}
        for sandbox in names:
            if sandbox not in running:
                self._routing.forget(sandbox)
                await close_lane(link, sandbox)
                continue
            lanes[sandbox] = sum((await counts(link, STREAM, f"{subjects.lane(sandbox)}.>")).values())
            removed = await self.scales.cut(link, sandbox)
            if lanes[sandbox] - removed > self._sizes.per_sandbox:
                removed += await trim_lane(link, sandbox, self._sizes.per_sandbox)
            if removed:
                trimmed[sandbox] = removed
                self.trimmed += removed
                _log.warning("a lane was over its quota", sandbox_id=sandbox, removed=removed)
        self.lanes = lanes
        self.scales.only([sandbox for sandbox, events in lanes.items() if events])
        await self._watch.look(link, {sandbox: lags[sandbox] for sandbox in lanes})
        await self._watch.trimmed(trimmed)


async def read_table(link: Link, wanted: str = f"{subjects.ROUTES}.>") -> RouteTable:
    """Read all routes once, or those whose records a filter finds.

    Raises:
        Unavailable: they do not come.
    """
    table = RouteTable()
    following = Following(link, ROUTES_STREAM, wanted, lambda subject, _b, body, at: _apply(table, subject, body, at))
    try:
        await following.start()
        async with asyncio.timeout(5):
            await following.complete.wait()
    except (ApiError, TimeoutError) as error:
        raise Unavailable("nats", f"the routes cannot be read: {error}") from error
    finally:
        following.stop()
    return table


def _apply(table: RouteTable, subject: str, body: bytes, at: int) -> None:
    table.apply(subject, body, at)


def _where(route: Route) -> tuple[str, str]:
    return kinds.source_of(route.kind), route.key


def _known(route: Route) -> bool:
    try:
        kinds.source_of(route.kind)
    except kinds.KindFormError:
        return False
    return True


def _agree(want: Any, have: Record | None) -> bool:
    if want is None:
        return have is None
    if have is None or have.held:
        return False
    sandbox_id, _, route = want
    return (have.sandbox, have.mode, have.sample) == (sandbox_id, route.mode, route.sample)
