"""From what was caught to rows, events, and what policies make of it: one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.security.honeypots import store
from valhalla.features.security.honeypots.contracts import DECOYS, Caught
from valhalla.features.security.honeypots.tables import TABLE
from valhalla.features.security.policies.contracts import Deed, Source
from valhalla.kernel.clock import Clock
from valhalla.kit import partitions
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many

WINDOW: Final = timedelta(hours=1)
Judge = Callable[[Connection, Source, str], Sequence[Deed]]
_EVENTS: Final = {"decoy_path": "decoy.touched", "decoy_key": "decoy.key_used", "canary": "decoy.canary_seen"}


class Recorder:
    """Writes what was caught; ``judge`` are the policies, ``done`` is told what they did once it is committed."""

    def __init__(
        self, db: Database, ledger: Ledger, judge: Judge, done: Callable[[Sequence[Deed]], None], *, clock: Clock
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._judge = judge
        self._done = done
        self._clock = clock
        self._days: set[date] = set()
        self.stored = 0
        """Events that were new, since the start."""

    async def write(self, events: Sequence[Caught]) -> tuple[int, bool]:
        """Write events; return how many are new, and whether policies did something about them.

        Raises:
            Unavailable: the database cannot be reached; nothing was written.
        """
        days = {one.at.date() for one in events}
        if missing := days - self._days:
            await self._db.run(partitions.ensure, TABLE, missing)
            self._days |= missing
        try:
            stored, deeds = await self._db.run(self._write, events)
        except Exception:
            # somebody may have dropped a partition: look again the next time
            self._days.clear()
            raise
        self.stored += stored
        self._done(deeds)
        return stored, bool(deeds)

    def _write(self, conn: Connection, events: Sequence[Caught]) -> tuple[int, list[Deed]]:
        now = self._clock.now()
        store.take_turns(conn, {one.address for one in events if one.address is not None})
        new = store.add(conn, events, now)
        fresh = {one.uid: one for one in events if one.uid in new}
        by_address: dict[str, list[Caught]] = {}
        for one in fresh.values():
            if one.address is not None:
                by_address.setdefault(one.address, []).append(one)
        if not by_address:
            return len(fresh), []
        self._tell(conn, by_address)
        totals = store.totals(conn, sorted(by_address), now - WINDOW)
        deeds: list[Deed] = []
        for address, each in sorted(by_address.items()):
            worst = max(each, key=lambda one: one.score)
            total = totals.get(address)
            if total is None:
                # it is older than what policies look at
                continue
            source = Source(address, worst.kind, worst.honeypot, worst.service, worst.score, *total)
            what = f"{total.events} events within an hour, score {total.score}, last {worst.kind} at {worst.honeypot}"
            deeds += self._judge(conn, source, what)
        return len(fresh), deeds

    def _tell(self, conn: Connection, by_address: dict[str, list[Caught]]) -> None:
        """Say it once per address, honeypot and kind of news, however many there were."""
        items: dict[tuple[str, str, str], dict[str, Any]] = {}
        for address, events in by_address.items():
            for one in events:
                kind = _EVENTS.get(one.kind, "honeypot.caught")
                name = str(one.payload.get("decoy", "")) if one.honeypot == DECOYS else one.honeypot
                data = {
                    "address": address,
                    "honeypot": one.honeypot,
                    "kind": one.kind,
                    "service": one.service,
                    "score": one.score,
                    "count": 0,
                    **({"decoy": name, "path": one.payload.get("path")} if one.honeypot == DECOYS else {}),
                }
                items.setdefault((kind, name, address), data)["count"] += 1
        emit_many(
            conn,
            [
                {
                    "subject": f"honeypot.{'decoys' if kind.startswith('decoy') else 'events'}",
                    "type": kind,
                    "data": data,
                }
                for (kind, _, _), data in items.items()
            ],
        )
        for (kind, name, address), data in items.items():
            # of mere scans the policies' own entries say enough
            if kind in ("decoy.key_used", "decoy.canary_seen"):
                self._ledger.append(
                    conn, actor=f"address:{address}", action=kind, kind="decoy", subject=name, details=data
                )
