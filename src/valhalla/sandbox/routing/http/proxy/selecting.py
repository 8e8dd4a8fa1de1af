"""Whose a request is. Pure: decided on its head, the routes and the upstreams as they are now.

A stranger can write any header. So what names a sandbox counts only with its routing key, and a claimed header only
where the operator has declared it (``Terms``). What is unproven is production's, as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from valhalla.kernel.problems import Misconfigured
from valhalla.sandbox.routing.http.errors import RequestRefused, RoutesUnknown, RoutingKeyRefused
from valhalla.sandbox.routing.http.keys import HEADER as ROUTING_KEY
from valhalla.sandbox.routing.http.keys import Keys
from valhalla.sandbox.routing.http.proxy.contracts import MEMBER, PATHS, By, Choice, Known, Target, Terms
from valhalla.sandbox.routing.http.proxy.headers import Headers
from valhalla.sandbox.routing.table import RouteTable

_SOURCE: Final = "http"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_COMMON: Final = frozenset(
    {
        "authorization", "baggage", "cache-control", "connection", "content-encoding", "content-length", "content-type",
        "cookie", "date", "expect", "forwarded", "from", "host", "keep-alive", "origin", "pragma",
        "proxy-authorization", "range", "referer", "te", "traceparent", "tracestate", "trailer", "transfer-encoding",
        "upgrade", "upgrade-insecure-requests", "user-agent", "via", "x-real-ip", ROUTING_KEY,
    }
)  # fmt: skip
_MOST_BAGGAGE: Final = 8192


def check_terms(terms: Terms) -> Terms:
    """Return terms whose headers are in lower case.

    Raises:
        Misconfigured: a header is one that every request has: its claim would be one of everybody's requests.
    """
    names = tuple(name.lower() for name in terms.headers)
    for name in names:
        if _NAME.fullmatch(name) is None or name in _COMMON or name.startswith(("accept", "sec-", "x-forwarded-")):
            raise Misconfigured(
                f"'{name[:64]}' cannot route requests: every request has it, or it is no header",
                help="Name a header that says whose a request is, such as x-test-user.",
                setting="header",
            )
    return replace(terms, headers=names)


class Selector:
    """Chooses for one request after the other."""

    def __init__(self, terms: Terms, keys: Keys) -> None:
        self.terms = terms
        self._keys = keys

    def choose(self, headers: Headers, path: str, known: Known, table: RouteTable, *, live: bool) -> Choice:
        """Return whose a request is; ``live`` says whether ``table`` is proven to be the present one.

        Raises:
            RequestRefused: it names several sandboxes.
            RoutingKeyRefused: it claims a key that is none.
            RoutesUnknown: whose it is cannot be known at this moment.
        """
        given = _values(headers, ROUTING_KEY)
        if len(set(given)) > 1:
            raise RequestRefused("it names several routing keys")
        proven = self._opened(given[0]) if given else None
        if path.startswith(PATHS):
            return self._by_path(path, known)
        if proven is not None:
            return self._named(proven, "key", path, known)
        named, unproven = self._by_baggage(headers, known)
        if named is not None:
            return self._named(named, "baggage", path, known)
        choice = self._by_header(headers, path, known, table, live=live)
        if choice.sandbox is None and choice.why is None and unproven:
            return Choice(path, why="unproven")
        return choice

    def _opened(self, key: str) -> str:
        sandbox = self._keys.sandbox(key)
        if sandbox is None:
            raise RoutingKeyRefused
        return sandbox

    def _by_path(self, path: str, known: Known) -> Choice:
        credential, _, rest = path.removeprefix(PATHS).partition("/")
        credential, question, query = credential.partition("?")
        onward = f"/{rest}{question}{query}"
        if self.terms.trust_names and (target := known.by_name.get(credential)) is not None:
            return Choice(onward, target.sandbox, target, "path")
        return self._named(self._opened(credential), "path", onward, known)

    def _by_baggage(self, headers: Headers, known: Known) -> tuple[str | None, bool]:
        """Return the id of the sandbox that baggage names, and whether something in it was not proven."""
        found: set[str] = set()
        unproven = False
        for name, properties in _members(headers):
            key = properties.get("key")
            if key is not None and self._keys.is_ours(key):
                sandbox = self._opened(key)
                target = known.by_id.get(sandbox)
                if target is not None and name not in (target.name, sandbox):
                    raise RoutingKeyRefused("the key is another sandbox's than the one that is named")
                found.add(sandbox)
            elif self.terms.trust_names and (target := known.by_name.get(name)) is not None:
                found.add(target.sandbox or "")
            else:
                unproven = True
        if len(found) > 1:
            raise RequestRefused("its baggage names several sandboxes")
        return next(iter(found), None), unproven

    def _named(self, sandbox: str, by: By, path: str, known: Known) -> Choice:
        target = known.by_id.get(sandbox)
        if target is None and self.terms.ended == "production":
            return Choice(path, why="ended")
        return Choice(path, sandbox, target, by)

    def _by_header(self, headers: Headers, path: str, known: Known, table: RouteTable, *, live: bool) -> Choice:
        if not self.terms.headers:
            return Choice(path)
        if not live and self.terms.blind == "refuse":
            raise RoutesUnknown
        given = {name.lower(): value.strip() for name, value in headers}
        for name in self.terms.headers:
            value = given.get(name)
            way = None if value is None else table.way(_SOURCE, f"{name}={value}")
            if way is None or (way.sandbox is None and not way.held):
                continue
            if way.held or not live:
                raise RoutesUnknown
            assert way.sandbox is not None
            return self._claimed(way.sandbox, name, path, known)
        return Choice(path)

    def _claimed(self, sandbox: str, name: str, path: str, known: Known) -> Choice:
        target = known.by_id.get(sandbox)
        if target is None and self.terms.down == "production":
            return Choice(path, why="no-upstream")
        return Choice(path, sandbox, target, "header", name)


def _values(headers: Headers, wanted: str) -> list[str]:
    return [value.strip() for name, value in headers if name.lower() == wanted]


def _members(headers: Headers) -> Iterator[tuple[str, dict[str, str]]]:
    """Go through what baggage says of sandboxes (https://www.w3.org/TR/baggage/): names with their properties."""
    text = ",".join(_values(headers, "baggage"))
    if MEMBER not in text or len(text) > _MOST_BAGGAGE:
        return
    for member in text.split(","):
        first, *rest = member.split(";")
        name, equals, value = first.partition("=")
        if not equals or name.strip() != MEMBER:
            continue
        pairs = (each.partition("=") for each in rest)
        yield unquote(value.strip()), {key.strip(): text.strip() for key, _, text in pairs}


def known_of(targets: Iterator[Target]) -> Known:
    """Return upstreams so that one finds them."""
    by_id = {target.sandbox: target for target in targets if target.sandbox is not None}
    return Known(by_id, {target.name: target for target in by_id.values()})
