"""Alerts as agents report them, and the decisions in them: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import msgspec

from valhalla.features.security.blocklist.contracts import BlockRule
from valhalla.features.security.blocklist.errors import BadRule
from valhalla.features.security.blocklist.rules import made, network_of, networks_of, parse_duration
from valhalla.features.security.crowdsec.errors import CannotFilter
from valhalla.features.security.crowdsec.rules import TYPES
from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps

_REQUIRED: Final = (
    "scenario", "scenario_hash", "scenario_version", "message", "events_count", "start_at", "stop_at", "capacity",
    "leakspeed", "simulated", "events", "source",
)  # fmt: skip
_MOST_BODY: Final = 65_536
_MOST_ALERTS: Final = 1000
_WORD: Final = re.compile(r"[^A-Za-z0-9_.:@/+-]")


@dataclass(frozen=True, slots=True)
class Report:
    """One alert: what is kept of it, and the rules that it wants, by their keys; ``ignored`` decisions are none."""

    scenario: str
    scope: str
    value: str
    body: Mapping[str, Any]
    rules: Mapping[str, BlockRule]
    ignored: int


def reports_of(body: bytes, now: datetime, ban: timedelta) -> list[Report]:
    """Read the body of ``POST /v1/alerts``.

    Agents decide nothing: an alert that asks for a remediation blocks its source for ``ban`` (nobody when zero), as
    the stock profiles of CrowdSec have it. Decisions in an alert are somebody's own, and stand as they are.

    Raises:
        CannotFilter: it is no list of alerts, or one lacks what every alert has.
    """
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CannotFilter("the body is not JSON") from error
    if not isinstance(document, list) or len(cast("list[Any]", document)) > _MOST_ALERTS:
        raise CannotFilter(f"the body is a list of up to {_MOST_ALERTS} alerts")
    return [_report(item, now, ban) for item in cast("list[Any]", document)]


def _report(item: Any, now: datetime, ban: timedelta) -> Report:
    if not isinstance(item, dict):
        raise CannotFilter("an alert is an object")
    alert = cast("dict[str, Any]", item)
    missing = [name for name in _REQUIRED if alert.get(name) is None]
    if missing:
        raise CannotFilter(f"validation failure list: {missing[0]} in body is required")
    if not isinstance(alert["source"], dict):
        raise CannotFilter("validation failure list: source in body must be of type object")
    source = cast("dict[str, Any]", alert["source"])
    scenario = str(alert["scenario"])[:300]
    wanted: dict[str, BlockRule] = {}
    ignored = 0
    for decision in _decisions(alert, source, ban):
        try:
            wanted.update(_rules(decision, scenario, now))
        except (Invalid, ValueError, OverflowError):
            # one that we cannot enforce must not stop the others
            ignored += 1
    kept: dict[str, Any] = {name: value for name, value in alert.items() if name != "decisions"}
    if len(dumps(kept)) > _MOST_BODY:
        kept = {name: kept[name] for name in _REQUIRED}
        kept["events"], kept["message"] = list[Any](), str(kept["message"])[:1000]
    if len(dumps(kept)) > _MOST_BODY:
        kept = {"scenario": scenario}
    scope, value = str(source.get("scope") or "")[:64], str(source.get("value") or source.get("ip") or "")[:128]
    return Report(_clean(scenario), _clean(scope), _clean(_plain(value)), _storable(kept), wanted, ignored)


def _decisions(alert: Mapping[str, Any], source: Mapping[str, Any], ban: timedelta) -> Iterator[Mapping[str, Any]]:
    found: Any = alert.get("decisions")
    if not found and ban and alert.get("remediation") is True and str(source.get("scope")).lower() in ("ip", "range"):
        value = source.get("value") or source.get("range") or source.get("ip")
        found = [{"scope": source["scope"], "value": value, "duration": f"{int(ban.total_seconds())}s"}]
    if isinstance(found, list) and not alert.get("simulated"):
        for each in cast("list[Any]", found):
            if isinstance(each, dict) and not cast("dict[str, Any]", each).get("simulated"):
                yield cast("dict[str, Any]", each)


def _rules(decision: Mapping[str, Any], scenario: str, now: datetime) -> Iterator[tuple[str, BlockRule]]:
    kind = TYPES.get(str(decision.get("scope") or "").lower())
    if kind is None:
        raise ValueError("a scope that is not ours")
    seconds = parse_duration(str(decision.get("duration") or "4h"))
    if seconds <= 0:
        raise ValueError("it has ended")
    common: dict[str, Any] = {
        "reason": _clean(str(decision.get("scenario") or scenario))[:300],
        "source": _WORD.sub("_", str(decision.get("origin") or "crowdsec"))[:64],
        "severity": "error",
        "expires_at": now + timedelta(seconds=seconds),
        "remediation": _WORD.sub("_", str(decision.get("type") or "ban"))[:64],
    }
    value = str(decision.get("value") or "")
    if kind in ("ip", "cidr"):
        for network in networks_of(value, lenient=True):
            yield made("cidr", str(network), **common)
    else:
        yield made(kind, value, **common)


def _plain(value: str) -> str:
    """Return an address or network in its one form, and what is none as it is."""
    try:
        network = network_of(value, lenient=True)
    except BadRule:
        return value
    return str(network.network_address if network.num_addresses == 1 else network)


def _clean(text: str) -> str:
    return text.replace("\x00", "")


def _storable(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body that a JSON column takes: PostgreSQL stores no NUL."""
    text = dumps(dict(body))
    return body if b"\\u0000" not in text else {"scenario": _clean(str(body.get("scenario")))}
