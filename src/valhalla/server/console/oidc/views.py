"""The two addresses of signing in elsewhere: there, and back."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from valhalla.features.operations.clients import Clients
from valhalla.features.operations.clients.people.contracts import account
from valhalla.features.operations.clients.people.rules import Terms, person_of
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.server.console import forms
from valhalla.server.console import visit as visits
from valhalla.server.console.oidc.errors import SignInRefused
from valhalla.server.console.oidc.provider import Provider
from valhalla.server.console.oidc.states import LIFE, States
from valhalla.server.console.rendering import HEADERS, Pages
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

_COOKIE: Final = "_issuer"
_log = get_logger("oidc")


class SigningInElsewhere:
    """Sends people to the issuer, and opens the session of whom it sends back."""

    def __init__(
        self, provider: Provider, states: States, terms: Terms, clients: Clients, sessions: Sessions, clock: Clock,
        url: str | None,
    ) -> None:  # fmt: skip
        """``url`` is how browsers reach the console, where that is not what they ask for."""
        self._provider, self._states, self._terms = provider, states, terms
        self._clients, self._sessions, self._now, self._url = clients, sessions, clock.now, url

    async def depart(self, visit: Visit) -> Response:
        """Lead the browser to the issuer."""
        departure = self._states.depart()
        where = await self._provider.authorization(
            self._back(visit), departure.state, departure.nonce, departure.verifier
        )
        wanted = visit.query.get("next", "")[:1000]
        response = RedirectResponse(where, 303, headers=HEADERS)
        # the issuer leads back here, which is another site's doing: a strict cookie would stay at home
        self._keep(response, visit, f"{departure.state}~{urlsafe_b64encode(wanted.encode()).decode()}")
        return response

    async def come_back(self, visit: Visit, pages: Pages) -> Response:
        """Open a session, or say on a plain page why not."""
        state, _, wanted = (visits.cookie(visit.request, self._cookie) or "").partition("~")
        departure = await self._states.come_back(visit.query.get("state", ""), state or None)
        self._check(visit)
        claims = await self._provider.claims(
            visit.query.get("code", ""), self._back(visit), departure.nonce, departure.verifier
        )
        try:
            person = person_of(claims, self._terms, self._now())
            principal = await self._clients.people.admit(person)
        except Problem as problem:
            _log.warning("somebody was not let in", subject=str(claims.get("sub"))[:100], code=problem.code)
            raise
        token, life = await self._sessions.open_for(principal, person.digest)
        where = _text(wanted)
        # a page, no redirect: what another site began brings no strict cookie along until a page of ours goes on
        shown = where if visit.is_here(where) else visit.path("")
        response = pages.answer("signed_in.html", base=visit.base, where=shown)
        visits.keep(response, visit.request, self._sessions.cookie, token, int(life.total_seconds()), visit.base)
        self._keep(response, visit, "")
        return response

    async def leave(self, visit: Visit, pages: Pages) -> Response | None:
        """Return the page that leads to the issuer, to end the session there too; None where it cannot be ended."""
        try:
            where = await self._provider.end_session(f"{self._home(visit)}/login")
        except Problem:
            # here one is signed out whatever the issuer does
            return None
        return None if where is None else pages.answer("signed_out.html", base=visit.base, where=where)

    async def ended(self, request: Request) -> Response:
        """Take the issuer's word that somebody's sessions are over: all of theirs end here, too.

        Raises:
            SignInRefused: it is not the issuer's word.
        """
        form = forms.read(await request.body())
        found = await self._provider.ended(form.get("logout_token", "")[:20_000])
        if await self._states.once(found.token, found.until):
            count = await self._sessions.end_all(account(self._terms.issuer, found.subject))
            _log.info("the issuer has ended sessions", sessions=count)
        return Response(status_code=200, headers=HEADERS)

    def _check(self, visit: Visit) -> None:
        """Accept an answer of this issuer that brings a code."""
        if (error := visit.query.get("error")) is not None:
            _log.warning("the issuer let nobody in", error=error[:60])
            raise SignInRefused("the issuer let nobody in", reason=error[:60] if error.isidentifier() else "unknown")
        # RFC 9207: an answer of another issuer must not be taken for one of this
        if visit.query.get("iss", self._terms.issuer) != self._terms.issuer:
            raise SignInRefused("another issuer has answered")

    def _back(self, visit: Visit) -> str:
        return f"{self._home(visit)}/oidc/callback"

    def _home(self, visit: Visit) -> str:
        return self._url.rstrip("/") if self._url else visit.origin + visit.base

    @property
    def _cookie(self) -> str:
        return self._sessions.cookie + _COOKIE

    def _keep(self, response: Response, visit: Visit, value: str) -> None:
        secure = visit.request.url.scheme == "https" or (self._url or "").startswith("https:")
        response.set_cookie(
            self._cookie,
            value,
            max_age=int(LIFE.total_seconds()) if value else 0,
            path=f"{visit.base}/oidc",
            httponly=True,
            samesite="lax",
            secure=secure,
        )


def _text(encoded: str) -> str:
    try:
        return urlsafe_b64decode(encoded).decode()
    except ValueError:
        return ""
