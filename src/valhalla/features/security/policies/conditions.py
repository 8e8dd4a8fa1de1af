"""Compiled conditions: CEL over what a policy may know, in a context that all policies of one request share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, cast

from pydantic_core import SchemaError, SchemaValidator, core_schema

from valhalla.features.security.policies import reading
from valhalla.features.security.policies.contracts import COUNTERS, About
from valhalla.features.security.policies.engine import cel
from valhalla.features.security.policies.errors import BadCondition

_COUNTED: Final = frozenset(COUNTERS) | {f"{name}_hour" for name in COUNTERS}
MEMBERS: Final[Mapping[About, Mapping[str, frozenset[str]]]] = {
    "request": {
        "request": frozenset(
            {"method", "path", "route", "query", "address", "user_agent", "host", "headers", "has_key"}
        ),
        "principal": frozenset({"id", "owner", "kind", "scopes", "admin", "anonymous"}),
        "sandbox": frozenset({"ref"}),
        "counters": _COUNTED,
        "mode": frozenset(),
    },
    "honeypot": {
        "event": frozenset({"kind", "honeypot", "service", "score"}),
        "source": frozenset({"address", "score", "events"}),
        "mode": frozenset(),
    },
    "rule": {
        "request": frozenset({"method", "path", "address", "user_agent", "country", "asn"}),
        "principal": frozenset({"owner", "key"}),
    },
    "action": {
        "action": frozenset({"type", "effect", "scope", "payload", "requested"}),
        "requester": frozenset({"id", "owner", "scopes", "admin"}),
        "mode": frozenset(),
    },
}
"""The variables of a condition and their members."""
_FUNCTIONS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "inNetwork", "has", "int", "uint", "double", "string", "dyn"}
    | {"max", "min", reading.FITS}
)
_NAME: Final = re.compile("[A-Za-z]")


class Condition:
    """One condition. ``execute`` is the engine's own, so that asking costs one call and nothing of ours."""

    __slots__ = ("_patterns", "counted", "execute", "members", "needs_functions")

    def __init__(self, text: str, on: About) -> None:
        """Compile.

        Raises:
            BadCondition: it is no CEL, names what is not there, or could take too long.
        """
        found = reading.read(text, MEMBERS[on])
        try:
            program = cel.compile(found.text)
        except Exception as error:
            raise BadCondition(f"CEL: {str(error)[:300]}") from error
        _check_names(program.references(), found, on)
        self.execute: Callable[[cel.Context], Any] = program.execute
        self.members = found.members
        self.counted = found.counted
        self._patterns = {pattern: _compiled(pattern) for pattern in found.patterns}
        self.needs_functions = bool(found.patterns) or "inNetwork" in found.text
        self._try(on)

    @property
    def patterns(self) -> Mapping[str, SchemaValidator]:
        """Its regular expressions."""
        return self._patterns

    def _try(self, on: About) -> None:
        # what is neither true nor false for a plain request is so for every one
        try:
            said = self.execute(context(_sample(on), [self]))
        except Exception:  # noqa: BLE001 - a header that is not there, say: counted when it happens
            return
        if not isinstance(said, bool):
            raise BadCondition("a condition is true or false")


def context(values: Mapping[str, Any], conditions: Iterable[Condition]) -> cel.Context:
    """Return what conditions are asked in; ``values`` has the variables with the members that they need."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            members = cast("Mapping[str, Any]", value)
            plain |= {reading.flat(name, member): each for member, each in members.items()}
        else:
            plain[name] = value
    functions = functions_of(conditions)
    return cel.Context(plain) if functions is None else cel.Context(plain, functions)


def functions_of(conditions: Iterable[Condition]) -> dict[str, Callable[..., Any]] | None:
    """Return the functions that conditions need, ``None``: none."""
    patterns: dict[str, SchemaValidator] = {}
    wanted = False
    for condition in conditions:
        if condition.needs_functions:
            wanted = True
            patterns |= condition.patterns
    return {reading.FITS: partial(_fits, patterns), "inNetwork": in_network} if wanted else None


def _fits(patterns: Mapping[str, SchemaValidator], text: Any, pattern: Any) -> bool:
    return patterns[pattern].isinstance_python(text)


def _compiled(pattern: str) -> SchemaValidator:
    # linear in the text, whatever the pattern; unlike Python's own
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        raise BadCondition(f"{pattern[:80]!a} is no regular expression (RE2)") from error


def in_network(address: Any, network: Any) -> bool:
    """Say whether an address lies in a network (``10.0.0.0/8``); an IPv4 address inside IPv6 is the IPv4 one."""
    found = _address(str(address))
    where = _network(str(network))
    return found is not None and found.version == where.version and found in where


@lru_cache(maxsize=4096)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


@lru_cache(maxsize=1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def _check_names(references: Mapping[str, list[str]], found: reading.Read, on: About) -> None:
    known = {name for name, members in MEMBERS[on].items() if not members}
    known |= {reading.flat(name, member) for name, members in found.members.items() for member in members or ()}
    for name in references["variables"]:
        if name not in known and name not in found.bound:
            raise BadCondition(f"there is no {name[:40]!a}; conditions on a {on} know {', '.join(MEMBERS[on])}")
    for name in references["functions"]:
        if _NAME.match(name) and name not in _FUNCTIONS:
            raise BadCondition(f"there is no function {name[:40]!a}")


def _sample(on: About) -> dict[str, Any]:
    if on == "honeypot":
        return {
            "event": {"kind": "scan", "honeypot": "", "service": "", "score": 1},
            "source": {"address": "192.0.2.1", "score": 1, "events": 1},
            "mode": "normal",
        }
    if on == "action":
        return {
            "action": {"type": "", "effect": "irreversible", "scope": "", "payload": {}, "requested": True},
            "requester": {"id": "", "owner": "", "scopes": [], "admin": False},
            "mode": "normal",
        }
    if on == "rule":
        return {
            "request": {"method": "GET", "path": "/", "address": "", "user_agent": "", "country": "", "asn": 0},
            "principal": {"owner": "", "key": ""},
        }
    return {
        "request": {
            "method": "GET",
            "path": "/",
            "route": "/",
            "query": "",
            "address": "192.0.2.1",
            "user_agent": "",
            "host": "",
            "headers": {},
            "has_key": False,
        },
        "principal": {"id": "", "owner": "", "kind": "", "scopes": [], "admin": False, "anonymous": True},
        "sandbox": {"ref": ""},
        "counters": dict.fromkeys(_COUNTED, 0),
        "mode": "normal",
    }
