"""Whether a webhook was signed with one of some secrets. Pure; comparisons take the same time whatever they find."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from valhalla.sandbox.routing.http.webhooks.contracts import Posted, Receiver
from valhalla.sandbox.routing.http.webhooks.errors import SignatureRefused

PREFIX: Final = "whsec_"
STRIPE: Final = "stripe-signature"
# who sends thousands of signatures wants us to compute
_MOST: Final = 16


def standard_secret(text: str) -> bytes:
    """Return the bytes of a secret of Standard Webhooks.

    Raises:
        ValueError: it is not ``whsec_`` and base64 of 24 to 64 bytes.
    """
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a signing secret is whsec_ and base64") from error
    if not text.startswith(PREFIX) or not 24 <= len(found) <= 64:
        raise ValueError("a signing secret is whsec_ and base64 of 24 to 64 bytes")
    return found


def verify(receiver: Receiver, secrets: Sequence[str], posted: Posted, now: float) -> None:
    """Accept a webhook that is signed as its receiver demands; ``now`` in seconds of Unix time.

    Raises:
        SignatureRefused: it is not.
    """
    if receiver.scheme == "none":
        return
    # one that lost its secrets takes nothing: an empty key would be everybody's
    if not secrets or not _VERIFIERS[receiver.scheme](receiver, secrets, posted, now):
        raise SignatureRefused


def _standard(receiver: Receiver, secrets: Sequence[str], posted: Posted, now: float) -> bool:
    # https://www.standardwebhooks.com: v1 is the base64 of the HMAC of id.timestamp.body
    message, stamp = posted.headers.get("webhook-id", ""), posted.headers.get("webhook-timestamp", "")
    if not message or not _is_recent(stamp, now, receiver.tolerance):
        return False
    signed = b"%s.%s.%s" % (message.encode("utf-8", "replace"), stamp.encode(), posted.body)
    given = [part[3:] for part in posted.headers.get("webhook-signature", "").split() if part.startswith("v1,")]
    return _any(given, (_base64(standard_secret(secret), signed) for secret in secrets))


def _hmac(receiver: Receiver, secrets: Sequence[str], posted: Posted, now: float) -> bool:
    del now
    given = posted.headers.get((receiver.header or "").lower(), "").strip()
    if not given.startswith(receiver.prefix):
        return False
    given = given[len(receiver.prefix) :]
    if receiver.encoding == "hex":
        return _any([given.lower()], (_hex(secret.encode(), posted.body) for secret in secrets))
    return _any([given], (_base64(secret.encode(), posted.body) for secret in secrets))


def _stripe(receiver: Receiver, secrets: Sequence[str], posted: Posted, now: float) -> bool:
    # https://docs.stripe.com/webhooks: v1 is the hex HMAC of timestamp.body, under the secret as it is written
    pairs = [part.strip().partition("=") for part in posted.headers.get(STRIPE, "").split(",")]
    stamps = [value for name, _, value in pairs if name == "t"]
    if len(stamps) != 1 or not _is_recent(stamps[0], now, receiver.tolerance):
        return False
    signed = b"%s.%s" % (stamps[0].encode(), posted.body)
    given = [value for name, _, value in pairs if name == "v1"]
    return _any(given, (_hex(secret.encode(), signed) for secret in secrets))


_VERIFIERS: Final[Mapping[str, Callable[[Receiver, Sequence[str], Posted, float], bool]]] = {
    "standard": _standard,
    "hmac": _hmac,
    "stripe": _stripe,
}


def _is_recent(stamp: str, now: float, tolerance: int) -> bool:
    return stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and abs(now - int(stamp)) <= tolerance


def _any(given: Sequence[str], expected: Iterable[bytes]) -> bool:
    texts = [each.encode("utf-8", "replace") for each in given[:_MOST]]
    found = False
    for one in expected:
        for text in texts:
            # no short cut: how long it takes says nothing of which one fits
            found |= hmac.compare_digest(text, one)
    return found


def _hex(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256).hex().encode()


def _base64(key: bytes, signed: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
