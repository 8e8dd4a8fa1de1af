"""A small OpenID Connect issuer with real keys, served over HTTP: says of whoever comes what a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "console", "s3cret-of-the-console"


@dataclass
class Issuer:
    """``claims`` are said of whoever signs in; ``spoil`` changes an ID token before it is signed."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    spoil: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    signing: RSAKey | None = None
    userinfo: dict[str, Any] | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    ends: bool = True
    asked: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _describe(self, _request: Request) -> Response:
        self.asked.append("describe")
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        names["userinfo_endpoint"] = "userinfo"
        if self.ends:
            names["end_session_endpoint"] = "logout"
        return JSONResponse({"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in names.items()}})

    async def _keys(self, _request: Request) -> Response:
        self.asked.append("keys")
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid email profile")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": self.url})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode()
        if (
            asked is None
            or request.headers.get("authorization") != f"Basic {basic}"
            or proof.rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        said = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"], **self.claims}
        said = {name: value for name, value in {**said, **self.spoil}.items() if value is not None}
        key = self.signing or self.key
        header = {"alg": self.algorithm, "kid": key.kid}
        if self.algorithm == "none":
            parts = (msg_part({"alg": "none"}), msg_part(said), "")
            token = ".".join(parts)
        else:
            token = jwt.encode(header, said, key, algorithms=[self.algorithm])
        return JSONResponse({"access_token": "an-access-token", "token_type": "Bearer", "id_token": token})

    def logout_token(self, **claims: Any) -> str:
        """Return the word that somebody's sessions are over."""
        events = {"http://schemas.openid.net/event/backchannel-logout": {}}
        now = int(time.time())
        said = {"iss": self.url, "aud": CLIENT, "iat": now, "jti": secrets.token_urlsafe(8), "events": events, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, said, self.signing or self.key, algorithms=["RS256"])

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer an-access-token"
        return JSONResponse(self.userinfo or {"sub": self.claims.get("sub")})


def msg_part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(JSONResponse(value).body).decode().rstrip("=")
