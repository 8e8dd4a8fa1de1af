"""Flags as they depend on each other, and the kill switch."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.flags import rules
from valhalla.features.operations.flags.contracts import Flag, SharedRule
from valhalla.features.operations.flags.errors import BadFlag, FlagInUse, FlagKilled, FlagNotFound
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Change, Record, Registry


class FlagService:
    """Writes that the routes of a registry do not know."""

    def __init__(
        self,
        db: Database,
        flags: Registry[Flag],
        shared: Registry[SharedRule],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        """``settle`` brings this process's snapshots up to date."""
        self.db = db
        self.flags = flags
        self.shared = shared
        self.settle = settle

    async def kill(self, principal: Principal, key: str, variant: str | None, reason: str | None) -> Record[Flag]:
        """Let a flag serve ``variant``, or the caller's default, until it is revived.

        Raises:
            FlagNotFound: there is none.
            BadFlag: it has no such variant.
        """
        return await self._switch(principal, key, True, variant, reason)

    async def revive(self, principal: Principal, key: str, reason: str | None) -> Record[Flag]:
        """Let a flag serve what its definition says.

        Raises:
            FlagNotFound: there is none.
        """
        return await self._switch(principal, key, False, None, reason)

    async def _switch(
        self, principal: Principal, key: str, killed: bool, variant: str | None, reason: str | None
    ) -> Record[Flag]:
        def work(conn: Connection) -> Record[Flag]:
            self.flags.lock(conn)
            before = self.flags.find(conn, key)
            if before is None:
                raise FlagNotFound(f"there is no flag {key[:64]!a}", key=ascii(key[:64]))
            value = msgspec.structs.replace(before.value, killed=killed, killVariant=variant)
            change = self.flags.put(conn, key, value, actor=principal.id, reason=reason)
            if not change.changed:
                return before
            kind = "flag.killed" if killed else "flag.revived"
            # a key may hold dots and colons, a subject may not
            data = {"key": key, "variant": variant, "reason": reason, "by": principal.id, "owner": value.owner}
            emit(conn, subject="flag", type=kind, data=data)
            return Record(key, value, change.revision, before.created_at, change.at)

        record = await self.db.run(work)
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await self.settle()
        return record

    def check_flags(self, conn: Connection, changes: Sequence[Change]) -> None:
        """Accept changes after which every flag still has what it depends on.

        Raises:
            BadFlag: prerequisites form a circle, or they or shared rules do not exist.
            FlagInUse: a flag is removed or loses a variant that others depend on.
            FlagKilled: a flag would be revived by a rollback.
        """
        after: dict[str, Flag | None] = {}
        for change in changes:
            flag = after[change.key] = None if change.after is None else self.flags.decode(change.key, change.after)
            if flag is not None and not flag.killed and change.before is not None and change.before.get("killed"):
                raise FlagKilled(f"'{change.key}' is killed", key=change.key)

        def find(key: str) -> Flag | None:
            if key not in after:
                found = self.flags.find(conn, key)
                after[key] = None if found is None else found.value
            return after[key]

        for key in [change.key for change in changes]:
            flag = after[key]
            self._check_dependents(conn, key, flag, find)
            if flag is not None:
                _check_needs(flag, find)
                self._check_references(conn, flag)

    def check_shared(self, conn: Connection, changes: Sequence[Change]) -> None:
        """Accept changes after which every shared rule that is named exists and none refers to itself.

        Raises:
            BadFlag: a rule names one that does not exist, or itself by way of others.
            FlagInUse: flags or rules name one that is removed.
        """
        _, records = self.shared.load(conn)
        now = {record.key: record.value.rule for record in records}
        for change in changes:
            if change.after is None:
                now.pop(change.key, None)
            else:
                now[change.key] = self.shared.decode(change.key, change.after).rule
        needs = {key: rules.references(rule) for key, rule in now.items()}
        removed = {change.key for change in changes if change.after is None} - now.keys()
        for change in changes:
            way = rules.circle(change.key, needs)
            if way is not None:
                raise _bad("/rule", f"shared rules refer to each other: {' → '.join(way)}")
            for name in needs.get(change.key, ()):
                if name not in now:
                    raise _bad("/rule", f"there is no shared rule {name[:64]!a}")
        if removed:
            users = [key for key, names in needs.items() if names & removed]
            _, flags = self.flags.load(conn)
            users += [f.key for f in flags if any(rules.references(r) & removed for _, r in rules.targetings(f.value))]
            if users:
                raise FlagInUse(f"{', '.join(users[:5])} refer to it", flags=users[:50])

    def _check_dependents(
        self, conn: Connection, key: str, flag: Flag | None, find: Callable[[str], Flag | None]
    ) -> None:
        page = self.flags.page(conn, where={"prerequisites": [{"flag": key}]}, limit=50)
        users: list[str] = []
        for record in page.items:
            user = find(record.key)
            wanted = (
                {v for needed in user.prerequisites if needed.flag == key for v in needed.variants}
                if user
                else set[str]()
            )
            if wanted and (flag is None or not wanted <= flag.variants.keys()):
                users.append(record.key)
        if users:
            raise FlagInUse(f"it is a prerequisite of {', '.join(users[:5])}", flags=users)

    def _check_references(self, conn: Connection, flag: Flag) -> None:
        for path, rule in rules.targetings(flag):
            for name in rules.references(rule):
                if self.shared.find(conn, name) is None:
                    pointer = "".join(f"/{part}" for part in path)
                    raise _bad(pointer, f"there is no shared rule {name[:64]!a}")


def _check_needs(flag: Flag, find: Callable[[str], Flag | None]) -> None:
    for n, needed in enumerate(flag.prerequisites):
        other = find(needed.flag)
        if other is None:
            raise _bad(f"/prerequisites/{n}/flag", f"there is no flag {needed.flag[:64]!a}")
        for m, variant in enumerate(needed.variants):
            if variant not in other.variants:
                raise _bad(f"/prerequisites/{n}/variants/{m}", f"'{needed.flag}' has no variant {variant[:64]!a}")
    needs: dict[str, list[str]] = {}
    waiting = [flag.key]
    while waiting:
        key = waiting.pop()
        if key not in needs:
            found = find(key)
            needs[key] = [] if found is None else [each.flag for each in found.prerequisites]
            waiting += needs[key]
    way = rules.circle(flag.key, needs)
    if way is not None:
        closes = "depend on each other" if way[-1] == flag.key else f"follow each other more than {rules.CHAIN} times"
        raise _bad("/prerequisites", f"prerequisites {closes}: {' → '.join(way)}", path=way)


def _bad(pointer: str, detail: str, **extra: object) -> BadFlag:
    errors = [{"in": "body", "pointer": pointer, "detail": detail}]
    return BadFlag(f"{pointer}: {detail}", errors=errors, **extra)  # type: ignore[arg-type]
