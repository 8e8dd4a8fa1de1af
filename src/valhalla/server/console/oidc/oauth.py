"""The two requests of the authorization code grant, as Authlib builds them (it has no types)."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Sent(NamedTuple):
    """A POST to be."""

    uri: str
    headers: dict[str, str]
    body: str


def authorization_uri(
    endpoint: str, client_id: str, redirect: str, scopes: Sequence[str], *, state: str, nonce: str, verifier: str
) -> str:
    """Return where a browser asks for a code; of the verifier it learns the hash (PKCE, RFC 7636)."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    challenge = create_s256_code_challenge(verifier)
    return prepare_grant_uri(
        endpoint, client_id, "code", redirect, " ".join(scopes), state,
        nonce=nonce, code_challenge=challenge, code_challenge_method="S256",
    )  # fmt: skip


def end_session_uri(endpoint: str, client_id: str, back: str) -> str:
    """Return where a browser ends its session with the issuer (OpenID Connect RP-Initiated Logout 1.0).

    The issuer asks the person: the ID token, with which it would not, is kept nowhere.
    """
    from authlib.common.urls import add_params_to_uri

    return add_params_to_uri(endpoint, [("client_id", client_id), ("post_logout_redirect_uri", back)])


def token_request(
    endpoint: str,
    client_id: str,
    secret: str | None,
    methods: Sequence[str],
    *,
    code: str,
    redirect: str,
    verifier: str,
) -> Sent:
    """Return the request that exchanges a code, authenticated in a way that the issuer takes."""
    from authlib.oauth2.auth import ClientAuth
    from authlib.oauth2.rfc6749.parameters import prepare_token_request

    method = (
        "client_secret_basic" if "client_secret_basic" in (methods or ["client_secret_basic"]) else "client_secret_post"
    )
    body = prepare_token_request("authorization_code", "", redirect, code=code, code_verifier=verifier)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    auth = ClientAuth(client_id, secret, "none" if secret is None else method)
    return Sent(*auth.prepare("POST", endpoint, headers, body))
