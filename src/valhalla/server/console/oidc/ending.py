"""Whether a logout token is the issuer's word that it has ended somebody's sessions (OIDC Back-Channel Logout 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from valhalla.server.console.oidc.errors import SignInRefused
from valhalla.server.console.oidc.tokens import ALGORITHMS, UnknownKey, signing

_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LEEWAY: Final = 60
_OLDEST: Final = 600


class Ended(NamedTuple):
    """Whose sessions are over, and the token's own name, which is taken once until it is too old."""

    subject: str
    token: str
    until: datetime


def ended(token: str, keys: Mapping[str, Any], issuer: str, client_id: str, now: datetime) -> Ended:
    """Return what a logout token says.

    Raises:
        UnknownKey: none of the keys is the one that it names.
        SignInRefused: it is not valid, or names a session alone: of those nothing is kept.
    """
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jwk import KeySet

    try:
        decoded = jwt.decode(token, signing(KeySet.import_key_set(cast("Any", keys))), algorithms=ALGORITHMS)
        claims = decoded.claims
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()), leeway=_LEEWAY,
            iss={"essential": True, "value": issuer}, aud={"essential": True, "value": client_id},
            iat={"essential": True}, jti={"essential": True},
        )  # fmt: skip
        registry.validate(claims)
    except InvalidKeyIdError as error:
        raise UnknownKey from error
    except JoseError as error:
        raise SignInRefused("the logout token is not valid", reason=error.error) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignInRefused("the logout token cannot be read", reason=type(error).__name__) from error
    events: Any = claims.get("events")
    # an ID token is no logout token: it has a nonce and no such event
    if "nonce" in claims or not isinstance(events, dict) or _EVENT not in events:
        raise SignInRefused("this is no logout token")
    issued = float(claims["iat"])
    if now.timestamp() - issued > _OLDEST:
        raise SignInRefused("the logout token is older than ten minutes")
    subject: Any = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise SignInRefused("the logout token names no subject, and sessions of the issuer are not known here")
    until = datetime.fromtimestamp(issued, UTC) + timedelta(seconds=_OLDEST + _LEEWAY)
    return Ended(subject, str(claims["jti"])[:200], until)
