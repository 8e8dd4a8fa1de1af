"""Rules in their one form, and what stands of two: pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec

from valhalla.features.security.blocklist.contracts import Action, BlockRule, RuleType, until_of
from valhalla.features.security.blocklist.rules import forms
from valhalla.kernel.alerting import Severity, worse


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
    kind, text = forms.canonical(type, value)
    until = None if expires_at is None else datetime.fromtimestamp(math.ceil(expires_at.timestamp()), UTC)
    rule = BlockRule(kind, text, action, reason, severity, source, until, remediation)
    return forms.key_of(action, kind, text), rule


def stronger(old: BlockRule, new: BlockRule) -> BlockRule:
    """Return what stands when both are wanted: the later expiry with its reason, the worse severity."""
    lasting = new if until_of(new.expires_at) > until_of(old.expires_at) else old
    remediation = "ban" if "ban" in (old.remediation, new.remediation) else lasting.remediation
    return msgspec.structs.replace(lasting, severity=worse(old.severity, new.severity), remediation=remediation)
