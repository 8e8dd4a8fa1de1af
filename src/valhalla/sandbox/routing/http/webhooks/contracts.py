"""The frozen values of webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from valhalla.sandbox.routing.contracts import MAX_DATA

Scheme = Literal["none", "standard", "hmac", "stripe"]
"""``standard`` is Standard Webhooks 1.0, ``hmac`` the HMAC-SHA256 of the body in a header, ``stripe`` ``t=…,v1=…``."""
Encoding = Literal["hex", "base64"]
IDS: Final = ("webhook-id", "x-github-delivery", "idempotency-key")
"""Headers in which senders name a delivery, the same in each of their attempts."""


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose webhooks are taken, where their key is found, and how they prove whose they are.

    ``key_from``, ``type_from`` and ``id_from`` are ``header:NAME``, ``body:$.a.b``, ``fixed:TEXT``; a key may be the
    ``path`` behind the receiver's name, an id ``auto``: the first header of ``IDS``, or else a hash of the body.
    """

    name: str
    kind: str
    key_from: str
    sealed_secrets: str = ""
    type_from: str = "fixed:webhook"
    id_from: str = "auto"
    default_key: str | None = None
    """The key of what has none; without it that is refused."""
    scheme: Scheme = "none"
    header: str | None = None
    """Where the signature of ``hmac`` is."""
    prefix: str = ""
    encoding: Encoding = "hex"
    tolerance: int = 300
    """Seconds that a signed time may be off."""
    max_bytes: int = MAX_DATA
    enabled: bool = True
    description: str | None = None


class Secrets(msgspec.Struct, frozen=True):
    """What of a receiver is sealed: each of these verifies, so that one can be replaced without a gap."""

    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """A webhook as it came. Names of headers are in lower case; ``rest`` is the path behind the receiver's name."""

    headers: Mapping[str, str]
    body: bytes
    rest: str | None = None
