"""The issuer over HTTP: what it publishes of itself, its keys, and codes exchanged for tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Misconfigured, Problem
from valhalla.kit.log import get_logger
from valhalla.kit.outgoing_guard import Reach
from valhalla.kit.outgoing_guard.exchange import Answer, exchange
from valhalla.kit.outgoing_guard.transport import guarded_client
from valhalla.server.console.oidc import oauth
from valhalla.server.console.oidc.ending import Ended, ended
from valhalla.server.console.oidc.errors import IssuerUnavailable, SignInRefused
from valhalla.server.console.oidc.tokens import Expected, UnknownKey, verify

_SECONDS: Final = 10.0
_MOST: Final = 1_048_576
_FRESH: Final = 3600.0
# a token that names a key nobody knows makes us ask again, but not as often as somebody sends such tokens
_AGAIN: Final = 10.0
_log = get_logger("oidc")


@dataclass(frozen=True, slots=True)
class Application:
    """What the console is to the issuer; no secret: a public client."""

    issuer: str
    client_id: str
    secret: str | None
    scopes: tuple[str, ...]


class Provider:
    """One issuer. It is asked when somebody signs in, never at the start: its outage stops nobody with a key."""

    def __init__(self, application: Application, reach: Reach, clock: Clock) -> None:
        """``reach`` says which private addresses its endpoints may have.

        Raises:
            Misconfigured: the libraries are not installed.
        """
        try:
            import authlib.oidc.core  # noqa: F401 # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]
        except ImportError as error:
            raise Misconfigured(
                "signing in with an issuer needs Authlib", setting="oidc_issuer", help="pip install 'valhalla[oidc]'"
            ) from error
        self.application = application
        self._reach, self._clock = reach, clock
        self._http: httpx.AsyncClient | None = None
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, Mapping[str, Any]] | None = None
        self._one = asyncio.Lock()

    async def authorization(self, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to sign in.

        Raises:
            IssuerUnavailable: nobody knows where that is.
        """
        of = self.application
        endpoint = self._endpoint(await self._described(), "authorization_endpoint")
        return oauth.authorization_uri(
            endpoint, of.client_id, redirect, of.scopes, state=state, nonce=nonce, verifier=verifier
        )

    async def claims(self, code: str, redirect: str, nonce: str, verifier: str) -> dict[str, Any]:
        """Exchange a code, and return what the issuer says of who signed in: verified.

        Raises:
            IssuerUnavailable, SignInRefused: it does not answer, or what it says is not valid.
        """
        described = await self._described()
        tokens = await self._redeem(described, code, redirect, verifier)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or not isinstance(access, str):
            raise SignInRefused("the issuer sent no ID token")
        expected = Expected(self.application.issuer, self.application.client_id, nonce)
        now = self._clock.now()
        try:
            claims = verify(token, access, await self._key_set(described), expected, now)
        except UnknownKey:
            keys = await self._key_set(described, again=True)
            try:
                claims = verify(token, access, keys, expected, now)
            except UnknownKey as error:
                raise SignInRefused("none of the issuer's keys has signed the ID token") from error
        return {**await self._userinfo(described, access, claims), **claims}

    async def end_session(self, back: str) -> str | None:
        """Return where a browser ends its session with the issuer; None for one that has no such place.

        Raises:
            IssuerUnavailable: nobody knows where that is.
        """
        described = await self._described()
        if not described.get("end_session_endpoint"):
            return None
        return oauth.end_session_uri(
            self._endpoint(described, "end_session_endpoint"), self.application.client_id, back
        )

    async def ended(self, token: str) -> Ended:
        """Return whose sessions the issuer has ended, as its logout token says: verified.

        Raises:
            IssuerUnavailable, SignInRefused: its keys cannot be had, or the token is not valid.
        """
        described, of = await self._described(), self.application
        now = self._clock.now()
        try:
            return ended(token, await self._key_set(described), of.issuer, of.client_id, now)
        except UnknownKey:
            keys = await self._key_set(described, again=True)
            try:
                return ended(token, keys, of.issuer, of.client_id, now)
            except UnknownKey as error:
                raise SignInRefused("none of the issuer's keys has signed the logout token") from error

    async def _redeem(self, described: Mapping[str, Any], code: str, redirect: str, verifier: str) -> dict[str, Any]:
        of = self.application
        methods: Any = described.get("token_endpoint_auth_methods_supported") or ()
        sent = oauth.token_request(
            self._endpoint(described, "token_endpoint"), of.client_id, of.secret, methods,
            code=code, redirect=redirect, verifier=verifier,
        )  # fmt: skip
        answer = await self._send("POST", *sent)
        if answer.status != 200:
            # its own words may hold what was sent; the error's code is of a fixed list
            said = _object(answer.body).get("error")
            _log.warning("the issuer refused a code", status=answer.status, error=str(said)[:40])
            raise SignInRefused("the issuer did not take the code that the browser brought")
        return _object(answer.body)

    async def _userinfo(
        self, described: Mapping[str, Any], access: str, claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return what the issuer says only there; of somebody else it is nothing."""
        if not described.get("userinfo_endpoint"):
            return {}
        uri = self._endpoint(described, "userinfo_endpoint")
        answer = await self._send("GET", uri, {"Authorization": f"Bearer {access}", "Accept": "application/json"}, None)
        if answer.status != 200:
            raise IssuerUnavailable("its userinfo endpoint refused a token of its own")
        found = _object(answer.body)
        if found.get("sub") != claims["sub"]:
            raise SignInRefused("the issuer speaks of two people at once")
        return found

    async def _described(self) -> Mapping[str, Any]:
        async with self._one:
            if self._metadata is None or time.monotonic() - self._metadata[0] > _FRESH:
                uri = f"{self.application.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = await self._document(uri)
                if found.get("issuer") != self.application.issuer:
                    raise IssuerUnavailable("the document at its address describes another issuer")
                self._metadata = time.monotonic(), found
            return self._metadata[1]

    async def _key_set(self, described: Mapping[str, Any], *, again: bool = False) -> Mapping[str, Any]:
        async with self._one:
            age = None if self._keys is None else time.monotonic() - self._keys[0]
            if self._keys is None or age is None or age > (_AGAIN if again else _FRESH):
                self._keys = time.monotonic(), await self._document(self._endpoint(described, "jwks_uri"))
            return self._keys[1]

    def _endpoint(self, described: Mapping[str, Any], name: str) -> str:
        found = described.get(name)
        secure = self.application.issuer.startswith("http://") or str(found).startswith("https://")
        if not isinstance(found, str) or not secure:
            raise IssuerUnavailable(f"it names no '{name}' over https")
        return found

    async def _document(self, uri: str) -> dict[str, Any]:
        answer = await self._send("GET", uri, {"Accept": "application/json"}, None)
        if answer.status != 200:
            _log.warning("the issuer does not describe itself", address=uri, status=answer.status)
            raise IssuerUnavailable(f"it answered {answer.status} where it should describe itself")
        return _object(answer.body)

    async def _send(self, method: str, uri: str, headers: Mapping[str, str], body: str | None) -> Answer:
        if self._http is None:
            self._http = guarded_client(self._reach, timeout=_SECONDS)
        request = self._http.build_request(method, uri, headers=headers, content=body)
        try:
            return await exchange(self._http, request, seconds=_SECONDS, most=_MOST)
        except (Problem, TimeoutError, OSError, httpx.HTTPError) as error:
            _log.warning("the issuer cannot be asked", address=uri.partition("?")[0], reason=str(error)[:200])
            raise IssuerUnavailable(f"no answer that can be used came: {type(error).__name__}") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        found: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise IssuerUnavailable("what it answered is no JSON") from error
    if not isinstance(found, dict):
        raise IssuerUnavailable("what it answered is no JSON object")
    return found  # pyright: ignore[reportUnknownVariableType]
