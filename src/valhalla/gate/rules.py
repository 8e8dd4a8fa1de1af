"""The gate's pure decisions."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from valhalla.gate.contracts import Blocklist, Header, Quota, Shield
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, PayloadTooLarge, Problem, Unauthenticated
from valhalla.kit.correlation import valid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# answered without a key: liveness, the API's description, and the pages that problems link to
_PUBLIC: Final = frozenset(
    {"/", "/live", "/livez", "/ready", "/readyz", "/health", "/metrics", "/docs", "/openapi.json", "/console"}
)
_PUBLIC_BELOW: Final = ("/problems/", "/readyz/", "/downloads/", "/console/", "/ingress/")
# where CrowdSec's agents show their key
_LOGINS: Final = frozenset({"/v1/watchers", "/v1/watchers/login"})
_CHALLENGE: Final = 'Bearer realm="valhalla"'
_MOST_HOPS: Final = 20
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f\x7f-\uffff]*')


def decide(
    method: str,
    path: str,
    query: bytes,
    headers: Mapping[bytes, bytes],
    address: str | None,
    principal: Principal | None,
    shield: Shield | None,
    blocklist: Blocklist | None,
    is_public: Callable[[str], bool] | None,
    max_body: int,
    *,
    proxied: bool = False,
) -> Problem | None:
    """Return why a request is refused, in the fixed order: shield, blocklist, authentication, form.

    Who asks has been looked up before, because the shield lets those pass who end a maintenance. Without ``is_public``
    nobody needs a key.
    """
    if shield is not None and (problem := shield.refuse(method, path, query, principal)) is not None:
        return problem
    if blocklist is not None:
        problem = blocklist.verdict(method, path, address, principal, headers, proxied=proxied)
        if problem is not None:
            return problem
    if principal is None and is_public is not None and not is_public(path):
        return Unauthenticated(headers={"WWW-Authenticate": _CHALLENGE})
    if "\x00" in path or (query and holds_nul(path, query)):
        return Invalid("the address holds a NUL character")
    length = headers.get(b"content-length")
    if length is not None and (declared_length(length) or 0) > max_body:
        return too_large(max_body)
    return None


def too_large(limit: int) -> PayloadTooLarge:
    """Return the problem of a body over ``limit`` bytes."""
    return PayloadTooLarge(f"the limit is {limit} bytes")


def is_public(path: str) -> bool:
    """Say whether a path is answered without a key. Any other is refused first, whether it exists or not.

    Addresses of downloads are keys themselves: they are signed, and end. Webhooks are signed by who sends them.
    """
    # the console signs people in by itself, and asks the rest of the API in their name
    return path in _PUBLIC or path in _LOGINS or path.startswith(_PUBLIC_BELOW)


def correlation(header: bytes | None, span_id: str | None = None) -> str:
    """Return the client's correlation id if it is well-formed, else a fresh one (it goes into logs and headers).

    The fresh one is made of ``span_id`` if there is one, which is just as random and already drawn.
    """
    if header is not None:
        text = valid(header.decode("latin-1"))
        if text is not None:
            return text
    return new_id() if span_id is None else f"r{span_id[1:]}"


def key_in(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request was sent with: as a bearer's, or where clients of OFREP and Consul put theirs."""
    found = headers.get(b"authorization")
    if found is not None:
        return bearer(found)
    found = headers.get(b"x-api-key") or headers.get(b"x-consul-token")
    return None if found is None else bearer(b"Bearer " + found)


def bearer(header: bytes | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750), or None."""
    if header is None:
        return None
    scheme, _, token = header.decode("latin-1").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= 256 else None


def holds_nul(path: str, query: bytes) -> bool:
    """Say whether a decoded path or a raw query holds a NUL, which no backend can store or look for."""
    return "\x00" in path or b"%00" in query or b"\x00" in query


def declared_length(header: bytes | None) -> int | None:
    """Return the Content-Length, None for one that is absent or no number (the body is counted in any case)."""
    return int(header) if header is not None and len(header) <= 18 and header.isdigit() else None


def may_have_body(method: str, headers: Mapping[bytes, bytes], version: str) -> bool:
    """Say whether a body can follow; HTTP/1 announces each one, later versions need not."""
    if b"content-length" in headers:
        return headers[b"content-length"] != b"0"
    return b"transfer-encoding" in headers or (not version.startswith("1") and method not in ("GET", "HEAD"))


def networks(values: Sequence[str]) -> tuple[Network, ...]:
    """Read addresses and networks (``10.0.0.0/8``).

    Raises:
        ValueError: one is neither.
    """
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def client_address(peer: str | None, headers: Mapping[bytes, bytes], trusted: Sequence[Network]) -> str | None:
    """Return who asks: the nearest hop that is not a trusted proxy, from ``Forwarded`` or ``X-Forwarded-For``.

    What an untrusted hop says of those behind it is not believed.
    """
    if not trusted or not _is_trusted(peer, tuple(trusted)):
        return peer
    hops = _forwarded(headers.get(b"forwarded")) or _listed(headers.get(b"x-forwarded-for"))
    believed = peer
    for hop in reversed(hops[-_MOST_HOPS:]):
        address = _address(hop)
        if address is None:
            return believed
        believed = address
        if not _is_trusted(address, tuple(trusted)):
            return believed
    return believed


def is_proxied(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Say whether the peer is a trusted proxy, whose headers tell of the client."""
    return bool(trusted) and _is_trusted(peer, tuple(trusted))


@lru_cache(maxsize=4096)
def _is_trusted(address: str | None, trusted: tuple[Network, ...]) -> bool:
    if address is None:
        # a Unix socket: only a program on this machine can be there, and whoever trusts any proxy put it there
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _listed(header: bytes | None) -> list[str]:
    return [] if header is None else [hop.strip() for hop in header[-2048:].decode("latin-1").split(",")]


def _forwarded(header: bytes | None) -> list[str]:
    """Return the ``for`` of each element of a ``Forwarded`` header (RFC 7239)."""
    if header is None:
        return []
    hops: list[str] = []
    for element in header[-2048:].decode("latin-1").split(","):
        pairs = (pair.partition("=") for pair in element.split(";"))
        hops.append(next((value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"), ""))
    return hops


@lru_cache(maxsize=4096)
def _address(hop: str) -> str | None:
    """Return the address of a hop without its port, None for one that hides itself or is none."""
    text = hop
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def quota_headers(quotas: Sequence[Quota]) -> tuple[Header, ...]:
    """Return ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11), seconds rounded up."""
    if not quotas:
        return ()
    names = [_quoted(quota.name) for quota in quotas]
    policy = ", ".join(
        f"{name};q={quota.limit};w={max(1, math.ceil(quota.window))}" for name, quota in zip(names, quotas, strict=True)
    )
    state = ", ".join(
        f"{name};r={max(0, quota.remaining)};t={max(0, math.ceil(quota.reset))}"
        for name, quota in zip(names, quotas, strict=True)
    )
    return ((b"ratelimit-policy", policy.encode("latin-1")), (b"ratelimit", state.encode("latin-1")))


def _quoted(name: str) -> str:
    # a structured field's string holds printable ASCII alone
    return f'"{name}"' if _PLAIN.fullmatch(name) else '"limit"'
