"""Headers on their way through: what ends here, what is added. Pure (RFC 9110 section 7.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from valhalla.sandbox.routing.http.errors import LoopDetected, RequestRefused
from valhalla.sandbox.routing.http.keys import HEADER as ROUTING_KEY

Headers = Sequence[tuple[str, str]]

_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# answered here
_OURS: Final = frozenset({"expect", ROUTING_KEY, "via"})
# what says where a request came from is the proxy's to say, unless one before it is trusted
_ORIGIN: Final = ("forwarded", "x-real-ip", "x-forwarded-")


def check(headers: Headers, routing: Iterable[str]) -> None:
    """Accept the headers of a request.

    Raises:
        RequestRefused: the proxy and the application could read them in two ways.
    """
    wanted = frozenset(routing)
    named = _named_in_connection(headers)
    if named & (wanted | {"host", "content-length", "baggage", "traceparent"}):
        raise RequestRefused("'Connection' names a header that decides or must arrive")
    seen: set[str] = set()
    for name, value in headers:
        lower = name.lower()
        # applications under CGI's rules read x_user as x-user
        plain = lower.replace("_", "-")
        if plain in wanted and (plain != lower or plain in seen):
            raise RequestRefused(f"'{plain}' comes twice, or in two spellings")
        if lower == "host" and lower in seen:
            raise RequestRefused("'Host' comes twice")
        seen.add(plain if plain in wanted else lower)
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise RequestRefused("a header holds bytes that are no UTF-8")


def onward(
    headers: Headers, *, peer: str, trusted: bool, scheme: str, via: str, host: str | None = None
) -> list[tuple[str, str]]:
    """Return the headers of a request as it is sent on; ``host`` is the name it is asked under, else the caller's.

    Raises:
        LoopDetected: it has been here before.
    """
    ended = _HOP | _OURS | _named_in_connection(headers)
    passed: list[tuple[str, str]] = []
    known: dict[str, str] = {}
    called = ""
    for name, value in headers:
        lower = name.lower()
        if lower == "host":
            called = value
        elif lower.startswith(_ORIGIN) or lower == "via":
            known[lower] = f"{known[lower]}, {value}" if lower in known else value
        elif lower not in ended:
            passed.append((name, value))
    if via in known.get("via", ""):
        raise LoopDetected
    before = known if trusted else {}
    sent = [("Host", host or called), *passed]
    for lower, value in before.items():
        if lower not in ("via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"):
            sent.append((lower, value))
    chain = before.get("x-forwarded-for")
    sent += [
        ("X-Forwarded-For", f"{chain}, {peer}" if chain else peer),
        ("X-Forwarded-Host", before.get("x-forwarded-host", called)),
        ("X-Forwarded-Proto", before.get("x-forwarded-proto", scheme)),
        ("Via", f"{known['via']}, 1.1 {via}" if "via" in known else f"1.1 {via}"),
    ]
    return sent


def back(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers of an answer as it is sent back."""
    ended = _HOP | _named_in_connection(headers)
    return [(name, value) for name, value in headers if name.lower() not in ended]


def _named_in_connection(headers: Headers) -> frozenset[str]:
    return frozenset(
        part.strip().lower() for name, value in headers if name.lower() == "connection" for part in value.split(",")
    ) - {"", "close", "keep-alive"}
