"""Which rules count a request, under which name and at what cost: pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.errors import BadRule

NAME: Final = r"[A-Za-z][A-Za-z0-9_.:-]{0,62}"
MAX_CAPACITY: Final = 1_000_000_000
MAX_EXACT: Final = 1_000_000
MIN_WINDOW: Final = 0.001
MAX_WINDOW: Final = 3660 * 86_400.0
MAX_RATE: Final = 1_000_000.0

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WORDS: Final = {
    "ms": "ms", "millisecond": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "second": "s", "seconds": "s",
    "m": "m", "min": "m", "minute": "m", "minutes": "m", "h": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d", "w": "w", "week": "w", "weeks": "w",
}  # fmt: skip
_RATE: Final = re.compile(
    r"([0-9][0-9_]{0,12})\s*(?:/|\bper\b)\s*([0-9]{1,10}(?:\.[0-9]{1,6})?)?\s*([a-z]{1,12})", re.ASCII
)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_ROUTE: Final = re.compile(r"(?:([A-Z]+) )?(/[\x21-\x7e]*)")
# probes are how an orchestrator knows that we live: a limit must not make it kill us
_FREE: Final = frozenset({"/live", "/livez", "/ready", "/readyz", "/health", "/metrics"})


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``capacity`` in any ``window`` seconds."""

    capacity: int
    window: float


def parse_rate(text: str) -> Rate:
    """Read ``100/hour``, ``1000/60 s``, ``10 per minute``.

    Raises:
        BadRule: it cannot be read, or no limit could have these numbers.
    """
    found = _RATE.fullmatch(text.strip().lower()) if len(text) <= 64 else None
    if found is None or found[3] not in _WORDS:
        raise BadRule("a rate is written as a number, '/' or 'per', and a time: '100/hour', '1000/60 s'")
    capacity, window = int(found[1]), float(found[2] or 1) * _UNITS[_WORDS[found[3]]]
    if not 1 <= capacity <= MAX_CAPACITY:
        raise BadRule(f"a rate is from 1 to {MAX_CAPACITY:,} requests")
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        raise BadRule("a rate's time is from a millisecond to ten years")
    if capacity / window > MAX_RATE:
        raise BadRule("a rate is at most a million per second", help="Lower it, or set no limit.")
    return Rate(capacity, window)


def check(rule: LimitRule) -> None:
    """Accept a rule that can be enforced.

    Raises:
        BadRule: it cannot.
    """
    if re.fullmatch(NAME, rule.name) is None:
        raise BadRule("a rule's name is 1 to 63 of A-Z, a-z, 0-9, '_', '.', ':' and '-', a letter first")
    rate = parse_rate(rule.rate)
    most = _most(rule, rate)
    for route, cost in rule.costs.items():
        _check_route(route)
        if not 1 <= cost <= most:
            raise BadRule(f"a cost is a whole number from 1 to {most:,}, the most that one request can ever get")
    for route in rule.routes:
        _check_route(route)
    if rule.subjects and rule.scope in ("global", "route"):
        raise BadRule(f"a rule of scope '{rule.scope}' has no subjects; narrow it by its routes")
    if rule.scope == "ip":
        for subject in rule.subjects:
            _network(subject)
    if any(not subject or len(subject) > 200 or not subject.isprintable() for subject in rule.subjects):
        raise BadRule("a subject is printable text of 1 to 200 characters")
    if rule.count == "fleet" and rule.kind != "gcra":
        raise BadRule("the fleet counts kind 'gcra' only; an exact limit is counted per process")
    if rule.strict and rule.count != "fleet":
        raise BadRule("only a rule that counts for the fleet can be strict: each process counts exactly anyway")


def _most(rule: LimitRule, rate: Rate) -> int:
    if rule.kind == "exact":
        if rule.burst is not None:
            raise BadRule("only kind 'gcra' has a burst; an exact limit hands out all of its capacity at once")
        if rate.capacity > MAX_EXACT:
            raise BadRule(f"an exact limit remembers up to {MAX_EXACT:,} requests; use kind 'gcra', or lower it")
        return rate.capacity
    if rule.burst is not None and not 1 <= rule.burst <= rate.capacity:
        raise BadRule("a burst is from 1 to the rate's capacity")
    return rule.burst or max(1, rate.capacity // 2)


@dataclass(frozen=True, slots=True)
class Request:
    """What rules know of a request; ``route`` is the template, or the path where templates are not known."""

    method: str
    path: str
    route: str
    address: str | None
    owner: str | None
    key: str | None


def subject_of(rule: LimitRule, request: Request) -> str | None:
    """Return under which name a rule counts a request, None if it does not count it."""
    if not applies(rule, request):
        return None
    return together(rule, request) or subject_among(rule, request.address, request.owner, request.key)


def applies(rule: LimitRule, request: Request) -> bool:
    """Say whether a rule counts such requests, whoever asks: method, path and route decide."""
    return not rule.routes or any(matches(route, request) for route in rule.routes)


def together(rule: LimitRule, request: Request) -> str | None:
    """Return the name under which a rule counts everybody together, None if it tells those apart who ask."""
    return f"{request.method} {request.route}"[:512] if rule.scope == "route" else None


def subject_among(rule: LimitRule, address: str | None, owner: str | None, key: str | None) -> str | None:
    """Return under which name a rule counts who asks, None if it does not count them."""
    if rule.scope == "key":
        return _among(rule, key)
    if rule.scope == "principal":
        return _among(rule, owner)
    return "" if rule.scope == "global" else _address(rule, address)


def cost_of(rule: LimitRule, request: Request) -> int:
    """Return what a request takes: the most that one of the matching routes says, else 1."""
    if not rule.costs:
        return 1
    return max((cost for route, cost in rule.costs.items() if matches(route, request)), default=1)


def matches(pattern: str, request: Request) -> bool:
    """Say whether ``/api/*`` or ``POST /api/sandboxes/{id}`` is the request's path or the template of its route."""
    method, path = split(pattern)
    if method is not None and method != request.method:
        return False
    if path.endswith("*"):
        return request.path.startswith(path[:-1]) or request.route.startswith(path[:-1])
    return path in (request.path, request.route)


def is_free(path: str) -> bool:
    """Say whether no rule ever counts a path."""
    return path in _FREE


@lru_cache(maxsize=4096)
def bucket_of(address: str) -> str | None:
    """Return the bucket of an address: of IPv6 the network of 64 bits that one customer has; None for no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


@lru_cache(maxsize=4096)
def split(pattern: str) -> tuple[str | None, str]:
    """Return the method (None for any) and the path of a pattern.

    Raises:
        BadRule: it is none.
    """
    found = _ROUTE.fullmatch(pattern) if len(pattern) <= 300 else None
    if found is None or (found[1] is not None and found[1] not in _METHODS) or "*" in found[2][:-1]:
        raise BadRule("a route is written '/api/*' or 'POST /api/sandboxes', a star only at its end")
    return found[1], found[2]


def _check_route(pattern: str) -> None:
    split(pattern)


def _among(rule: LimitRule, subject: str | None) -> str | None:
    return subject if subject is not None and (not rule.subjects or subject in rule.subjects) else None


def _address(rule: LimitRule, address: str | None) -> str | None:
    bucket = None if address is None else bucket_of(address)
    if bucket is None or not rule.subjects:
        return bucket
    return bucket if _within(rule.subjects, address or "") else None


@lru_cache(maxsize=4096)
def _within(networks: tuple[str, ...], address: str) -> bool:
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found.version == one.version and found in one for one in map(_network, networks))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise BadRule(f"{text[:64]!a} is no network: write 10.0.0.0/8 or 2001:db8::/32") from error


def chosen(rules: Iterable[LimitRule]) -> tuple[LimitRule, ...]:
    """Return the enabled rules in the order of their names, in which they are taken."""
    return tuple(sorted((rule for rule in rules if rule.enabled), key=lambda rule: rule.name))
