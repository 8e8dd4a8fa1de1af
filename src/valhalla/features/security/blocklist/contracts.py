"""The values of the blocklist, and what other features may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol, get_args

import msgspec
from sqlalchemy.engine import Connection

from valhalla.kernel.alerting import Severity
from valhalla.kit.registry import Change

RuleType = Literal["ip", "cidr", "principal", "api_key", "user_agent", "country", "asn", "path", "cel"]
TYPES: Final[tuple[RuleType, ...]] = get_args(RuleType)
Action = Literal["block", "allow"]


class BlockRule(msgspec.Struct, frozen=True):
    """One rule. ``action`` ``allow`` wins over every ``block`` that holds for the same request.

    ``principal`` is an owner, ``api_key`` the id of an API client. ``remediation`` is what bouncers are told to do;
    at our own gate every rule refuses. Expires at a whole second; ``None``: never.
    """

    type: RuleType
    value: str
    action: Action = "block"
    reason: str | None = None
    severity: Severity = "warning"
    source: str = "operator"
    expires_at: datetime | None = None
    remediation: str = "ban"


class Facts(NamedTuple):
    """What rules know of a request; ``None`` is not known, and no rule holds for it."""

    method: str
    path: str
    address: str | None
    """Of the client, behind the trusted proxies."""
    principal: str | None = None
    """The owner of the key."""
    api_key: str | None = None
    """The id of the API client."""
    user_agent: str | None = None
    country: str | None = None
    """Two letters, in upper case."""
    asn: int | None = None


class Verdict(NamedTuple):
    """The rule that refuses a request, by its key in the registry."""

    key: str
    type: RuleType


Condition = Callable[[Facts], bool]
"""A compiled condition; neither waits nor raises."""
Compile = Callable[[str], Condition]
"""Turns the text of a ``cel`` rule into a condition, or raises ``Invalid``."""


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


FOREVER: Final = 2**62
"""The ``until`` of what never expires."""


def until_of(expires_at: datetime | None) -> int:
    """Return an expiry as the index has it."""
    return FOREVER if expires_at is None else int(expires_at.timestamp())
