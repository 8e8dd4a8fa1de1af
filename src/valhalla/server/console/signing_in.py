"""Signing in with a key or a link, and out again."""

from __future__ import annotations

import secrets
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from valhalla.features.operations.clients.people.contracts import PREFIX
from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Problem
from valhalla.kit.http import principal_in
from valhalla.server.console import visit as visits
from valhalla.server.console.errors import NotSignedIn
from valhalla.server.console.oidc.views import SigningInElsewhere
from valhalla.server.console.rendering import HEADERS, Pages
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

_NONCE: Final = "_form"
_PATIENCE: Final = 1800


class SigningIn:
    """The views that need no session."""

    def __init__(self, sessions: Sessions, pages: Pages, *, elsewhere: SigningInElsewhere | None = None) -> None:
        """``elsewhere`` signs people in with an issuer, too."""
        self._sessions = sessions
        self._elsewhere = elsewhere
        self._pages = pages

    async def login(self, visit: Visit) -> Response:
        """Show the form, or take it."""
        if visit.request.method == "GET":
            if visit.session is not None:
                return RedirectResponse(visit.path(""), 303, headers=HEADERS)
            return self._form(visit, "login.html", next=visit.query.get("next", ""))
        form = await visit.form(self._sessions, self._nonce(visit))
        try:
            token = await self._sessions.open(form.get("key", "").strip(), visit.address)
        except Problem as problem:
            return self._form(visit, "login.html", problem.status, next=form.get("next", ""), problem=problem)
        return self._enter(visit, token, form.get("next", ""))

    async def link(self, visit: Visit) -> Response:
        """Ask before a link is used: what fetches addresses ahead of a person must not use it up."""
        if visit.request.method == "GET":
            return self._form(visit, "link.html", code=visit.query.get("code", ""))
        form = await visit.form(self._sessions, self._nonce(visit))
        return self._enter(visit, await self._sessions.redeem(form.get("code", ""), visit.address), "")

    async def make_link(self, request: Request) -> Response:
        """Make a link for whoever asks with an API key (``valhalla login``)."""
        principal = principal_in(request.scope)
        if principal is None:
            raise NotSignedIn("send the API key as 'Authorization: Bearer <key>'")
        code, until = await self._sessions.link(principal)
        path = f"{request.scope.get('root_path', '')}/link?code={code}"
        return JSONResponse({"path": path, "expires_at": isoformat(until)}, 201, headers=HEADERS)

    async def logout(self, visit: Visit) -> Response:
        """End the session."""
        session = visit.caller.session
        await visit.form(self._sessions, session.digest)
        await self._sessions.end(session)
        there = None
        if self._elsewhere is not None and session.principal.id.startswith(PREFIX):
            there = await self._elsewhere.leave(visit, self._pages)
        response = there or RedirectResponse(visit.path("login"), 303, headers=HEADERS)
        response.headers["Clear-Site-Data"] = '"cache"'
        visits.keep(response, visit.request, self._sessions.cookie, "", 0, visit.base)
        return response

    def _nonce(self, visit: Visit) -> str:
        # without a cookie no form is this visitor's
        return visits.cookie(visit.request, self._sessions.cookie + _NONCE) or secrets.token_urlsafe(16)

    def _form(self, visit: Visit, template: str, status: int = 200, **values: Any) -> Response:
        name = self._sessions.cookie + _NONCE
        nonce = visits.cookie(visit.request, name) or secrets.token_urlsafe(16)
        given: dict[str, Any] = {"problem": None, "elsewhere": self._elsewhere is not None, **values}
        token = self._sessions.form_token(nonce)
        response = self._pages.answer(template, status, base=visit.base, form_token=token, **given)
        visits.keep(response, visit.request, name, nonce, _PATIENCE, visit.base)
        return response

    def _enter(self, visit: Visit, token: str, wanted: str) -> Response:
        where = wanted if visit.is_here(wanted) else visit.path("")
        response = RedirectResponse(where, 303, headers=HEADERS)
        age = int(self._sessions.life.total_seconds())
        visits.keep(response, visit.request, self._sessions.cookie, token, age, visit.base)
        return response
