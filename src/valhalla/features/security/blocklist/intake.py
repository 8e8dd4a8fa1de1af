"""Bring lists of others in: thousands of rules, in transactions of some hundreds, each as often as one likes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import guards, importing, store
from valhalla.features.security.blocklist.contracts import BlockRule, Facts
from valhalla.features.security.blocklist.importing import Format, Given
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.recent import Impact, Recent
from valhalla.features.security.blocklist.rules import stronger
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Delete, Put, Registry

# a transaction of so many holds up the event loop for some milliseconds
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do. ``rejections`` are (line, text, why); line 0 for what was refused as a whole."""

    format: Format
    rules: int
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    rejections: tuple[tuple[int, str, str], ...] = ()
    revision: int | None = None
    impact: Impact | None = None


class Intake:
    """Imports. A rule of another source is never weakened by a list: the later expiry stays."""

    def __init__(
        self, db: Database, registry: Registry[BlockRule], ledger: Ledger, keeper: Keeper, recent: Recent
    ) -> None:
        self._db = db
        self._registry = registry
        self._ledger = ledger
        self._keeper = keeper
        self._recent = recent

    async def take(
        self,
        text: str,
        given: Given,
        *,
        actor: str,
        now: datetime,
        form: Format | None = None,
        facts: Facts | None = None,
        replace_source: bool = False,
        confirm: bool = False,
        dry_run: bool = False,
    ) -> Imported:
        """Import a text. A crash in the middle leaves whole transactions; importing again completes it.

        Raises:
            Invalid: the text is not in its form.
        """
        # a megabyte of addresses takes a second to read: not on the event loop
        parsed = await asyncio.to_thread(importing.parse, text, given, now, form)
        kept, refused = await asyncio.to_thread(
            guards.sift,
            parsed.rules.items(),
            facts,
            self._keeper.index,
            now.timestamp(),
            lambda condition: guards.need_condition(self._keeper.compiler, condition),
            confirm=confirm,
        )
        told = (*parsed.rejections, *((0, value, why) for value, why in refused))
        done = Imported(parsed.format, len(parsed.rules), rejections=told)
        items = sorted(kept.items())
        for begin in range(0, len(items), _CHUNK):
            part = dict(items[begin : begin + _CHUNK])
            done = _sum(done, await self._db.run(self._write, part, actor, given.source, dry_run))
        if replace_source:
            done = await self._drop_others(done, set(parsed.rules), given.source, actor, dry_run=dry_run)
        if dry_run:
            impact = await asyncio.to_thread(self._recent.impact, list(kept.values()), self._keeper.index)
            return replace(done, impact=impact)
        if done.revision is not None:
            await self._db.run(self._note, done, given.source, actor)
        return done

    def _write(
        self, conn: Connection, part: Mapping[str, BlockRule], actor: str, source: str, dry_run: bool
    ) -> tuple[int, int, int, int, int | None]:
        if not dry_run:
            self._registry.lock(conn)
        standing = store.standing(conn, list(part))
        ops: list[Put[BlockRule]] = []
        for key, rule in part.items():
            before = standing.get(key)
            if before is not None and (old := self._registry.decode(key, before)).source != rule.source:
                rule = stronger(old, rule)  # noqa: PLW2901 - what stands of both
            ops.append(Put(key, rule))
        changes = self._registry.bulk(conn, ops, actor=actor, reason=f"import {source}", dry_run=dry_run)
        written = [change for change in changes if change.changed]
        new = sum(change.before is None for change in written)
        revision = written[-1].revision if written and not dry_run else None
        return new, len(written) - new, len(changes) - len(written), 0, revision

    async def _drop_others(self, done: Imported, kept: set[str], source: str, actor: str, *, dry_run: bool) -> Imported:
        after = ""
        while keys := await self._db.read(store.keys_of, source, after, _CHUNK):
            after = keys[-1]
            gone = [key for key in keys if key not in kept]
            if gone:
                done = _sum(done, await self._db.run(self._remove, gone, source, actor, dry_run))
        return done

    def _remove(
        self, conn: Connection, keys: Sequence[str], source: str, actor: str, dry_run: bool
    ) -> tuple[int, int, int, int, int | None]:
        if dry_run:
            return 0, 0, 0, len(keys), None
        self._registry.lock(conn)
        # what somebody else took over meanwhile stays
        still = [key for key, body in store.standing(conn, keys).items() if body.get("source") == source]
        reason = f"no longer in {source}"
        changes = self._registry.bulk(conn, [Delete(key) for key in still], actor=actor, reason=reason)
        return 0, 0, 0, len(changes), changes[-1].revision if changes else None

    def _note(self, conn: Connection, done: Imported, source: str, actor: str) -> None:
        """Write one entry and one event of the whole import; each rule has its own in history."""
        counts = {name: getattr(done, name) for name in ("rules", "added", "changed", "unchanged", "removed")}
        details = {**counts, "rejected": len(done.rejections), "revision": done.revision}
        self._ledger.append(
            conn, actor=actor, action="import", kind="blocklist_import", subject=source, details=details
        )
        emit(conn, subject="block.import", type="block.imported", data={"source": source, "actor": actor, **details})


def _sum(done: Imported, more: tuple[int, int, int, int, int | None]) -> Imported:
    added, changed, unchanged, removed, revision = more
    return replace(
        done,
        added=done.added + added,
        changed=done.changed + changed,
        unchanged=done.unchanged + unchanged,
        removed=done.removed + removed,
        revision=revision or done.revision,
    )
