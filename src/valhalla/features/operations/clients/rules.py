"""Making and checking keys: pure.

A key is ``vh_{environment}_{client id}{secret}{checksum}``: the id finds the client without a scan, the secret carries
190 bits, and the checksum (CRC-32, as in GitHub's tokens) refuses garbage without a look-up. The secret is random and
long, so a plain SHA-256 is a sufficient hash (no dictionary can reach it).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.networks import Network, networks
from valhalla.kernel.ids import LENGTH
from valhalla.kernel.principal import Principal
from valhalla.kernel.scopes import scopes_of

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# two digits at a time: half the divisions
_PAIRS: Final = tuple(high + low for low in _BASE62 for high in _BASE62)
_SECRET: Final = 32
_KEY: Final = re.compile(rf"vh_([a-z]{{1,12}})_([a-z0-9]{{{LENGTH}}})([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{6}})")


@dataclass(frozen=True, slots=True)
class Lease:
    """One key that is taken: whose it is, until when and from where; of a client with an overlap there are two."""

    digest: bytes
    principal: Principal
    until: datetime | None
    networks: tuple[Network, ...]
    replaced: bool = False


Leases = Mapping[str, tuple[Lease, ...]]


def mint(client_id: str, environment: str) -> str:
    """Return a fresh key for a client."""
    secret = "".join(secrets.choice(_BASE62) for _ in range(_SECRET))
    body = f"vh_{environment}_{client_id}{secret}"
    return body + _checksum(body)


def digest(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def prefix(key: str) -> str:
    """Return how a key begins: enough to recognise it by, nothing of its secret."""
    return key[: key.index("_", 3) + 5]


def client_id_of(key: str, environment: str | None = None) -> str | None:
    """Return the client id inside a well-formed key (of the environment) with the right checksum, else None."""
    match = _KEY.fullmatch(key)
    if match is None or _checksum(key[:-6]) != match[4]:
        return None
    return match[2] if environment is None or match[1] == environment else None


def leases_of(clients: Iterable[ApiClient], environment: str) -> Leases:
    """Return the keys that are taken in an environment, by client id: what a snapshot is turned into once."""
    return {
        client.id: tuple(_leases(client)) for client in clients if client.active and client.environment == environment
    }


def lease_of(key: str, leases: Leases, environment: str, now: datetime) -> Lease | None:
    """Return the lease of a key, None for one that is malformed, unknown, revoked, expired or of elsewhere."""
    client_id = client_id_of(key, environment)
    found = None if client_id is None else leases.get(client_id)
    if found is None:
        return None
    made = hashlib.sha256(key.encode()).digest()
    for lease in found:
        if hmac.compare_digest(lease.digest, made):
            return lease if lease.until is None or now < lease.until else None
    return None


def is_admin(client: ApiClient, now: datetime) -> bool:
    """Say whether a client can administer the control plane now."""
    ended = client.expires_at is not None and client.expires_at <= now
    return client.active and not ended and (client.role == "admin" or "admin" in client.scopes)


def _leases(client: ApiClient) -> Iterable[Lease]:
    principal = Principal(
        client.id, client.owner, frozenset(client.scopes) | scopes_of(client.role), limits=client.limits
    )
    where = networks(client.networks)
    yield Lease(bytes.fromhex(client.digest), principal, client.expires_at, where)
    for old in client.retired:
        until = old.until if client.expires_at is None else min(old.until, client.expires_at)
        yield Lease(bytes.fromhex(old.digest), principal, until, where, replaced=True)


def _checksum(body: str) -> str:
    value, low = divmod(zlib.crc32(body.encode()), 3844)
    high, middle = divmod(value, 3844)
    return _PAIRS[low] + _PAIRS[middle] + _PAIRS[high]
