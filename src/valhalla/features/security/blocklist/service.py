"""The use cases of the blocklist."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import rules
from valhalla.features.security.blocklist.contracts import Action, BlockRule, RuleType, until_of
from valhalla.features.security.blocklist.errors import TooBroad
from valhalla.kernel.alerting import Severity, worse
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Change, Record, Registry

REGISTRY: Final = "blocklist"
SUBJECT: Final = "security.blocklist"


def block_registry(ledger: Ledger) -> Registry[BlockRule]:
    """Return the registry of rules."""
    return Registry(REGISTRY, BlockRule, ledger, validate=rules.check)


def made(
    type: RuleType,  # noqa: A002 - the member's name on the wire
    value: str,
    *,
    action: Action = "block",
    reason: str | None = None,
    severity: Severity = "warning",
    source: str = "operator",
    expires_at: datetime | None = None,
    remediation: str = "ban",
) -> tuple[str, BlockRule]:
    """Return a rule in its one form, with its key. It expires at the whole second after ``expires_at``.

    Raises:
        BadRule: the value is none of the type.
    """
    kind, text = rules.canonical(type, value)
    until = None if expires_at is None else datetime.fromtimestamp(math.ceil(expires_at.timestamp()), UTC)
    rule = BlockRule(kind, text, action, reason, severity, source, until, remediation)
    return rules.key_of(action, kind, text), rule


class BlockService:
    """Blocks and unblocks, in transactions of whoever asks (``contracts.Blocking``)."""

    def __init__(self, registry: Registry[BlockRule]) -> None:
        self.registry = registry

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
        """Block, or go on blocking; see ``contracts.Blocking``.

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
            tell(conn, "blocklist.blocked" if found is None else "blocklist.prolonged", key, rule, actor)
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
        found: Record[BlockRule] | None = self.registry.find(conn, key)
        if found is None:
            return None
        change = self.registry.delete(conn, key, actor=actor, reason=reason)
        tell(conn, "blocklist.unblocked", key, found.value, actor)
        return change


def stronger(old: BlockRule, new: BlockRule) -> BlockRule:
    """Return what stands when both are wanted: the later expiry with its reason, the worse severity."""
    lasting = new if until_of(new.expires_at) > until_of(old.expires_at) else old
    remediation = "ban" if "ban" in (old.remediation, new.remediation) else lasting.remediation
    return msgspec.structs.replace(lasting, severity=worse(old.severity, new.severity), remediation=remediation)


def tell(conn: Connection, kind: str, key: str, rule: BlockRule, actor: str) -> None:
    """Write the event of one rule."""
    data = {
        "key": key,
        "type": rule.type,
        "value": rule.value,
        "reason": rule.reason,
        "severity": rule.severity,
        "source": rule.source,
        "expires_at": rule.expires_at,
        "actor": actor,
    }
    emit(conn, subject=SUBJECT, type=kind, data=data)
