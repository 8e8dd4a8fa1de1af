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
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.kernel.ids import LENGTH
from valhalla.kernel.principal import Principal

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET: Final = 32
_KEY: Final = re.compile(rf"vh_([a-z]{{1,12}})_([a-z0-9]{{{LENGTH}}})([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{6}})")


def mint(client_id: str, environment: str) -> str:
    """Return a fresh key for a client."""
    secret = "".join(secrets.choice(_BASE62) for _ in range(_SECRET))
    body = f"vh_{environment}_{client_id}{secret}"
    return body + _checksum(body)


def digest(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def client_id_of(key: str) -> str | None:
    """Return the client id inside a well-formed key with the right checksum, else None."""
    match = _KEY.fullmatch(key)
    if match is None or not hmac.compare_digest(_checksum(key[:-6]), match[4]):
        return None
    return match[2]


def authenticate(key: str, clients: Mapping[str, ApiClient], now: Callable[[], datetime]) -> Principal | None:
    """Return whose key it is, or None for one that is malformed, unknown, revoked or expired."""
    client_id = client_id_of(key)
    client = None if client_id is None else clients.get(client_id)
    if client is None or not hmac.compare_digest(client.digest, digest(key)):
        return None
    if client.expires_at is not None and client.expires_at <= now():
        return None
    return Principal(client.id, client.owner, frozenset(client.scopes))


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)
