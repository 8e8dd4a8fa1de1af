"""What other features may ask of the blocklist."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist.contracts import RuleType
from valhalla.kernel.alerting import Severity
from valhalla.kit.registry import Change


class Blocking(Protocol):
    """Who blocks: what policies, honeypots and actions ask of the blocklist, in a transaction of theirs."""

    def block(
        self,
        conn: Connection,
        *,
        type: RuleType,  # noqa: A002 - the member's name on the wire
        value: str,
        reason: str,
        source: str,
        actor: str,
        severity: Severity = "warning",
        expires_at: datetime | None = None,
        remediation: str = "ban",
    ) -> Change:
        """Block, or go on blocking: a second call never shortens or weakens what stands.

        The later expiry and the worse severity stay; reason and source are those of who blocks longest. ``changed`` of
        the change is false when nothing was to be done.

        Raises:
            Invalid: the value is none of its type, or would block (nearly) everybody.
        """
        ...

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
            Invalid: the value is none of its type.
        """
        ...
