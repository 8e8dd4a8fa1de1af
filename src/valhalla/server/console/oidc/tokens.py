"""Whether an ID token is the issuer's word about who has just signed in: signature, issuer, audience, time, nonce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from valhalla.server.console.oidc.errors import SignInRefused

# never 'none', and no HMAC: a public key must not be taken for a shared one
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY: Final = 60


class UnknownKey(Exception):  # noqa: N818 - the issuer may have changed its keys: ask for them again
    """No key of the set has signed the token."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say."""

    issuer: str
    client_id: str
    nonce: str


def verify(token: str, access_token: str, keys: Mapping[str, Any], expected: Expected, now: datetime) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        UnknownKey: none of the keys is the one that it names.
        SignInRefused: it is not valid; the reason names no value of it.
    """
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jwk import KeySet

    try:
        decoded: Any = jwt.decode(token, signing(KeySet.import_key_set(cast("Any", keys))), algorithms=ALGORITHMS)
        options: Any = {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
            "exp": {"essential": True},
            "nonce": {"essential": True, "value": expected.nonce},
        }
        said = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": access_token}
        claims: Any = CodeIDToken(decoded.claims, decoded.header, options, said)
        claims.validate(now=int(now.timestamp()), leeway=_LEEWAY)
    except InvalidKeyIdError as error:
        raise UnknownKey from error
    except JoseError as error:
        claim = getattr(error, "claim", None)
        what = f"the claim '{claim}'" if isinstance(claim, str) else "its form or signature"
        raise SignInRefused(f"the ID token is not valid: {what}", reason=error.error) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignInRefused("the ID token cannot be read", reason=type(error).__name__) from error
    return dict(claims)


def signing(keys: Any) -> Any:
    """Leave out keys that only encrypt, or are secrets."""
    keys.keys = [key for key in keys.keys if key.key_type != "oct" and key.get("use") in (None, "sig")]
    return keys
