"""The values of the blocklist, which other features may take: pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from valhalla.kernel.alerting import Severity

RuleType = Literal["ip", "cidr", "principal", "api_key", "user_agent", "country", "asn", "path", "cel"]
TYPES: Final[tuple[RuleType, ...]] = get_args(RuleType)
Action = Literal["block", "allow"]
REGISTRY: Final = "blocklist"
"""The name of the registry of its rules."""


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
PROBES: Final = frozenset({"/live", "/livez", "/ready", "/readyz"})
"""How an orchestrator knows that we live: a rule must not make it kill us."""
FOREVER: Final = 2**62
"""The ``until`` of what never expires."""


def until_of(expires_at: datetime | None) -> int:
    """Return an expiry as the index has it."""
    return FOREVER if expires_at is None else int(expires_at.timestamp())
