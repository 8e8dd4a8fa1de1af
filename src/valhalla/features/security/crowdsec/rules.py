"""Decisions as CrowdSec's protocol has them, and which a bouncer wants: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from valhalla.features.security.blocklist.contracts import FOREVER, RuleType
from valhalla.features.security.blocklist.rules import go_duration
from valhalla.features.security.crowdsec.errors import CannotFilter

SCOPES: Final[dict[RuleType, str]] = {"ip": "Ip", "cidr": "Range", "country": "Country", "asn": "AS"}
TYPES: Final[Mapping[str, RuleType]] = {SCOPES[kind].lower(): kind for kind in SCOPES}
# the protocol knows no decision without an end
_NEVER: Final = 10 * 365 * 86_400
FILTERS: Final = frozenset(
    {
        "ip", "range", "contains", "scope", "scopes", "value", "type", "origin", "origins", "scenario",
        "scenarios_containing", "scenarios_not_containing",
    }
)  # fmt: skip


class Row(NamedTuple):
    """A rule as a decision is made of it; ``number`` names it, ``until`` in seconds since the epoch."""

    number: int
    key: str
    type: RuleType
    value: str
    source: str
    reason: str | None
    remediation: str
    until: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bouncer asks for; empty: all. Scopes are types of rules; texts are in lower case."""

    types: tuple[RuleType, ...] = ("ip", "cidr")
    origins: frozenset[str] = frozenset()
    containing: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    remediation: str | None = None
    value: str | None = None
    scenario: str | None = None

    def takes(self, row: Row) -> bool:
        """Say whether a decision is asked for."""
        scenario = (row.reason or row.source).lower()
        return (
            row.type in self.types
            and (not self.origins or row.source.lower() in self.origins)
            and (not self.containing or any(text in scenario for text in self.containing))
            and not any(text in scenario for text in self.without)
            and (self.remediation is None or row.remediation.lower() == self.remediation)
            and (self.scenario is None or scenario == self.scenario)
            and (self.value is None or row.value.lower() == self.value)
        )


def wanted(query: Mapping[str, str], types: tuple[RuleType, ...]) -> Wanted:
    """Return what the parameters of a request ask for; ``types`` where it names no scopes. Unknown ones are ignored."""
    scopes = _words(query.get("scopes") or query.get("scope"))
    named: tuple[RuleType, ...] = tuple(TYPES[one] for one in scopes if one in TYPES)
    return Wanted(
        named if scopes else types,
        frozenset(_words(query.get("origins") or query.get("origin"))),
        tuple(_words(query.get("scenarios_containing"))),
        tuple(_words(query.get("scenarios_not_containing"))),
        _word(query.get("type")),
        _word(query.get("value")),
        _word(query.get("scenario")),
    )


def decision(row: Row, now: float) -> dict[str, Any]:
    """Return a decision; its duration is negative once it has expired."""
    left = _NEVER if row.until == FOREVER else row.until - now
    return {
        "id": row.number,
        "origin": row.source,
        "type": row.remediation,
        "scope": SCOPES[row.type],
        "value": row.value,
        "duration": go_duration(left),
        "scenario": row.reason or row.source,
    }


def ended(row: Row) -> dict[str, Any]:
    """Return a decision that does not hold any more."""
    return {**decision(row, 0.0), "duration": "-1s"}


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return what a parameter says, as Go reads it; None without it.

    Raises:
        CannotFilter: it is neither yes nor no.
    """
    text = query.get(name, "").lower()
    if text in ("", "true", "t", "1", "false", "f", "0"):
        return text in ("true", "t", "1") if text else None
    raise CannotFilter(f"invalid {name} value: {text[:32]!a} is not a boolean")


def _words(text: str | None) -> list[str]:
    return [word.strip().lower() for word in (text or "").split(",") if word.strip()]


def _word(text: str | None) -> str | None:
    return text.strip().lower() or None if text else None
