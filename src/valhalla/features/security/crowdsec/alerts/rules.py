"""Which alerts a request means: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from valhalla.features.security.blocklist.errors import BadRule
from valhalla.features.security.blocklist.rules import network_of, parse_duration
from valhalla.features.security.crowdsec.errors import CannotFilter
from valhalla.features.security.crowdsec.rules import boolean

# what CrowdSec's own clients send and what changes nothing here
_TAKEN: Final = frozenset({"limit", "sort", "include_capi", "contains"})
_FILTERS: Final = _TAKEN | {
    "scope", "value", "scenario", "ip", "range", "since", "until", "created_before", "simulated",
    "has_active_decision", "decision_type", "origin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selected:
    """Alerts of which everything named holds; texts are in lower case."""

    scope: str | None = None
    value: str | None = None
    scenario: str | None = None
    network: str | None = None
    """An address or network, about which, or about one around it, they are."""
    inside: bool = False
    """About what is inside the network instead."""
    since: datetime | None = None
    until: datetime | None = None
    simulated: bool | None = None
    active: bool | None = None
    """Whether what they blocked still is."""
    remediation: str | None = None
    origin: str | None = None


def selected(query: Mapping[str, str], now: datetime) -> Selected:
    """Read the parameters of a request.

    Raises:
        CannotFilter: one is unknown, or not of its form: who deletes by a filter must not delete everything.
    """
    for name in query:
        if name not in _FILTERS:
            raise CannotFilter(f"Filter parameter {name[:32]!a} is unknown: invalid filter")

    def text(name: str) -> str | None:
        found = query.get(name, "").strip().lower()
        return found.replace("\x00", "\ufffd") or None

    def ago(name: str) -> datetime | None:
        if (found := text(name)) is None:
            return None
        try:
            return now - timedelta(seconds=parse_duration(found))
        except (BadRule, OverflowError) as error:
            raise CannotFilter(f"while parsing duration: invalid duration {found[:32]!a}") from error

    simulated = boolean(query, "simulated")
    return Selected(
        text("scope"),
        text("value"),
        text("scenario"),
        _network(query.get("ip") or query.get("range")),
        inside=boolean(query, "contains") is False,
        since=ago("since"),
        until=ago("until") or ago("created_before"),
        # "true" means simulated ones too
        simulated=False if simulated is False else None,
        active=boolean(query, "has_active_decision"),
        remediation=text("decision_type"),
        origin=text("origin"),
    )


def _network(text: str | None) -> str | None:
    if not text:
        return None
    try:
        return str(network_of(text, lenient=True))
    except BadRule as error:
        raise CannotFilter(f"unable to convert {text[:64]!a} to int: invalid address or range") from error
