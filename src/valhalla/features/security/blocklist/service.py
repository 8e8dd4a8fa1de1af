"""The use cases of the blocklist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import guards, rules, store
from valhalla.features.security.blocklist.contracts import REGISTRY, Action, BlockRule, Facts, RuleType
from valhalla.features.security.blocklist.errors import RuleNotFound, TooBroad
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.rules import made, stronger
from valhalla.kernel.alerting import Severity
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Change, Delete, Registry

_SWEEP: Final = 250


def block_registry(ledger: Ledger) -> Registry[BlockRule]:
    """Return the registry of rules."""
    return Registry(REGISTRY, BlockRule, ledger, validate=rules.check)


class BlockService:
    """Blocks and unblocks, in transactions of whoever asks (``Blocking``)."""

    def __init__(
        self,
        registry: Registry[BlockRule],
        many: Registry[BlockRule],
        keeper: Keeper,
        asking: Callable[[], Facts | None],
        clock: Clock,
    ) -> None:
        """``asking`` tells the facts of the request that is served, which no rule of its own may refuse."""
        self.registry = registry
        self.many = many
        """The same registry, for writes of many rules at once."""
        self._keeper = keeper
        self._asking = asking
        self._clock = clock

    def block(
        self,
        conn: Connection,
        *,
        type: RuleType,  # noqa: A002
        value: str,
        reason: str,
        source: str,
        actor: str,
        severity: Severity = "warning",
        expires_at: datetime | None = None,
        remediation: str = "ban",
    ) -> Change:
        """Block, or go on blocking; see ``Blocking``.

        Raises:
            BadRule, TooBroad: the value is none of its type, or would block (nearly) everybody.
        """
        key, rule = made(
            type,
            value,
            reason=reason,
            severity=severity,
            source=source,
            expires_at=expires_at,
            remediation=remediation,
        )
        if rules.is_broad(rule):
            raise TooBroad(f"{source} wants to block {rule.value}", value=rule.value)
        # before it is read: another writer may be about to lengthen it
        self.registry.lock(conn)
        found = self.registry.find(conn, key)
        if found is not None:
            rule = stronger(found.value, rule)
        change = self.registry.put(conn, key, rule, actor=actor, reason=reason)
        if change.changed:
            tell(conn, "block.added" if found is None else "block.changed", key, rule, actor)
        return change

    def unblock(
        self,
        conn: Connection,
        *,
        type: RuleType,  # noqa: A002
        value: str,
        actor: str,
        reason: str | None = None,
    ) -> Change | None:
        """End a block; ``None``: there was none.

        Raises:
            BadRule: the value is none of its type.
        """
        kind, text = rules.canonical(type, value)
        key = rules.key_of("block", kind, text)
        self.registry.lock(conn)
        found = self.registry.find(conn, key)
        if found is None:
            return None
        change = self.registry.delete(conn, key, actor=actor, reason=reason)
        tell(conn, "block.removed", key, found.value, actor)
        return change

    def put(
        self,
        conn: Connection,
        principal: Principal,
        key: str,
        rule: BlockRule,
        *,
        reason: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Change:
        """Make a rule as it is given, or make the one that is there so.

        Raises:
            BadRule: it is none.
            TooBroad: it would block (nearly) everybody, and ``confirm`` is not set.
            LocksYouOut: it would block who asks.
        """
        change = self.registry.put(conn, key, rule, actor=principal.id, reason=reason or rule.reason, dry_run=dry_run)
        self.check(conn, principal, [change], confirm=confirm)
        return change

    def remove(
        self,
        conn: Connection,
        principal: Principal,
        *,
        type: RuleType,  # noqa: A002
        value: str,
        action: Action = "block",
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Change:
        """End a rule.

        Raises:
            BadRule, RuleNotFound: the value is none of its type, or there is no such rule.
            LocksYouOut: it is what lets in who asks.
        """
        kind, text = rules.canonical(type, value)
        key = rules.key_of(action, kind, text)
        if self.registry.find(conn, key) is None:
            raise RuleNotFound(f"there is no rule {key[:100]!a}", key=key)
        change = self.registry.delete(conn, key, actor=principal.id, reason=reason, dry_run=dry_run)
        self.check(conn, principal, [change])
        return change

    def check(
        self, conn: Connection, principal: Principal, changes: Sequence[Change], *, confirm: bool = False
    ) -> None:
        """Look at what a write changes, in its transaction, and tell of it.

        Raises:
            TooBroad, LocksYouOut, BadRule: it must not be.
        """
        now = self._clock.now().timestamp()
        facts, index = self._asking(), self._keeper.index
        for change in changes:
            body = change.after if change.after is not None else change.before
            if body is None or not change.changed:
                continue
            rule = self.registry.decode(change.key, body)
            if change.after is None:
                guards.check_delete(rule, facts, index, now)
            else:
                if rule.type == "cel":
                    guards.need_condition(self._keeper.compiler, rule.value)
                guards.check_put(rule, facts, index, now, confirm=confirm)
            if not change.dry_run:
                tell(conn, _kind(change), change.key, rule, principal.id)

    def sweep(self, conn: Connection, now: datetime) -> int:
        """Remove rules that do not hold any more; return how many."""
        if not store.expired(conn, now, 1):
            return 0
        # another process may just have swept, or somebody lengthened one
        self.registry.lock(conn)
        keys = store.expired(conn, now, _SWEEP)
        self.many.bulk(conn, [Delete(key) for key in keys], actor=SYSTEM.id, reason="expired")
        return len(keys)


def _kind(change: Change) -> str:
    if change.after is None:
        return "block.removed"
    return "block.added" if change.before is None else "block.changed"


def tell(conn: Connection, kind: str, key: str, rule: BlockRule, actor: str) -> None:
    """Write the event of one rule."""
    data = {
        "key": key,
        "action": rule.action,
        "type": rule.type,
        "value": rule.value,
        "reason": rule.reason,
        "severity": rule.severity,
        "source": rule.source,
        "expires_at": rule.expires_at,
        "actor": actor,
    }
    emit(conn, subject=f"block.{rule.type}", type=kind, data=data)
