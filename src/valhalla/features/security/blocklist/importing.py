"""Read lists of others: one value a line, CSV, or decisions as CrowdSec exports them. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

import msgspec

from valhalla.features.security.blocklist import rules
from valhalla.features.security.blocklist.contracts import TYPES, Action, BlockRule, RuleType
from valhalla.features.security.blocklist.errors import BadRule
from valhalla.features.security.blocklist.rules import made, parse_duration
from valhalla.kernel.alerting import SEVERITIES, Severity
from valhalla.kernel.problems import Invalid

Format = Literal["plain", "csv", "crowdsec"]
_SCOPES: Final[Mapping[str, RuleType]] = {"ip": "ip", "range": "cidr", "country": "country", "as": "asn"}
_NAMES: Final = {"ip": "value", "address": "value", "cidr": "value", "network": "value", "ip_address": "value"}
_MOST_RANGE: Final = 64


@dataclass(frozen=True, slots=True)
class Given:
    """What every rule of a text is, unless its line says otherwise."""

    action: Action = "block"
    source: str = "import"
    reason: str | None = None
    severity: Severity = "warning"
    expires_at: datetime | None = None


@dataclass(slots=True)
class Parsed:
    """The rules of a text by their keys, and the lines that are none: (number, text, why)."""

    format: Format
    rules: dict[str, BlockRule] = field(default_factory=dict[str, BlockRule])
    rejections: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])

    def refuse(self, line: int, text: str, why: str) -> None:
        """Note a line that is no rule."""
        self.rejections.append((line, text[:100], why))


def parse(text: str, given: Given, now: datetime, form: Format | None = None) -> Parsed:
    """Read a list; lines that are no rules are told, and the others taken.

    Raises:
        Invalid: it is not in the form.
    """
    chosen = form or guess(text)
    parsed = Parsed(chosen)
    members = {"plain": _plain, "csv": _csv, "crowdsec": _crowdsec}[chosen](text)
    for number, raw, row in members:
        try:
            for key, rule in _rules(row, given, now):
                parsed.rules[key] = rule
        except (Invalid, ValueError, OverflowError) as error:
            why = error.detail if isinstance(error, Invalid) else "it is no rule"
            parsed.refuse(number, raw, why)
    return parsed


def guess(text: str) -> Format:
    """Say which form a text has."""
    start = text.lstrip()[:4096]
    if start.startswith(("[", "{")):
        return "crowdsec"
    first = next((line for line in start.splitlines() if line.strip() and not line.startswith(("#", ";"))), "")
    return "csv" if "," in first else "plain"


def _rules(row: Mapping[str, Any], given: Given, now: datetime) -> Iterator[tuple[str, BlockRule]]:
    value = str(row.get("value") or "").strip()
    kind = str(row.get("type") or "").strip().lower() or None
    if kind is not None and kind not in TYPES:
        raise BadRule(f"there is no type {kind[:30]!a}")
    severity = str(row.get("severity") or given.severity).strip().lower()
    if severity not in SEVERITIES:
        raise BadRule(f"there is no severity {severity[:30]!a}")
    common: dict[str, Any] = {
        "action": given.action,
        "reason": (str(row.get("reason") or "").strip() or given.reason or "")[:500] or None,
        "severity": severity,
        "source": str(row.get("source") or given.source).strip(),
        "expires_at": _expiry(row, given, now),
        "remediation": str(row.get("remediation") or "ban").strip(),
    }
    if kind not in (None, "ip", "cidr"):
        yield made(cast("RuleType", kind), value, **common)
        return
    networks = rules.networks_of(value, lenient=bool(row.get("lenient")))
    if len(networks) > _MOST_RANGE:
        raise BadRule(f"a range of more than {_MOST_RANGE} networks")
    for network in networks:
        yield made("cidr", str(network), **common)


def _expiry(row: Mapping[str, Any], given: Given, now: datetime) -> datetime | None:
    if duration := str(row.get("duration") or "").strip():
        expires = now + timedelta(seconds=parse_duration(duration))
    elif stated := str(row.get("expires_at") or "").strip():
        expires = datetime.fromisoformat(stated)
        if expires.tzinfo is None:
            raise BadRule("an expiry has an offset: 2027-01-01T00:00:00Z")
    else:
        return given.expires_at
    if expires <= now:
        raise BadRule("it has already expired")
    return expires


_Row = tuple[int, str, Mapping[str, Any]]


def _plain(text: str) -> Iterator[_Row]:
    """Give the values of lines; what follows ``#`` or ``;`` is a comment, as in every list there is."""
    for number, line in enumerate(text.splitlines(), 1):
        value = line.partition("#")[0].partition(";")[0].strip()
        if value:
            yield number, line, {"value": value.split()[0]}


def _csv(text: str) -> Iterator[_Row]:
    """Give the rows; without a header the first column is the value, the second the reason."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True)
    names: list[str] | None = None
    for number, row in enumerate(rows, 1):
        if names is None:
            header = [_NAMES.get(cell.strip().lower(), cell.strip().lower()) for cell in row]
            names = header if "value" in header else ["value", "reason"]
            if names is header:
                continue
        yield number, ",".join(row), dict(zip(names, row, strict=False))


def _crowdsec(text: str) -> Iterator[_Row]:
    """Give decisions: a list of them, of alerts with them (``cscli decisions list -o json``), or a stream's answer."""
    try:
        document: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"the text is not JSON: {error}") from error
    number = 0
    for decision in _decisions(document):
        number += 1
        scope = str(decision.get("scope") or "ip").lower()
        kind = _SCOPES.get(scope)
        raw = f"{scope}:{decision.get('value')}"
        if kind is None:
            yield number, raw, {"type": scope, "value": decision.get("value")}
            continue
        yield number, raw, {
            "type": kind,
            "value": decision.get("value"),
            "reason": decision.get("scenario") or decision.get("reason"),
            "duration": decision.get("duration"),
            "remediation": decision.get("type"),
            "lenient": True,
        }  # fmt: skip


def _decisions(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, dict):
        found = cast("dict[str, Any]", document)
        document = found.get("new") or found.get("decisions") or []
    if not isinstance(document, list):
        raise Invalid("a CrowdSec export is a list of decisions, or of alerts with decisions")
    for item in cast("list[Any]", document):
        if not isinstance(item, dict):
            raise Invalid("a CrowdSec export is a list of objects")
        entry = cast("dict[str, Any]", item)
        nested: Any = entry.get("decisions")
        if isinstance(nested, list):
            yield from (each for each in cast("list[Any]", nested) if isinstance(each, dict))
        else:
            yield entry
