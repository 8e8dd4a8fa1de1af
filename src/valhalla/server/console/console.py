"""The console's addresses, and what every answer of them has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from valhalla.gate.handlers import from_http
from valhalla.gate.rules import Network
from valhalla.kernel.problems import Problem
from valhalla.kit.log import correlation_id, get_logger
from valhalla.server.console import visit as visits
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.acting import Acting
from valhalla.server.console.api_index import Index
from valhalla.server.console.calling import Caller, Refused
from valhalla.server.console.contracts import Page
from valhalla.server.console.errors import NoSuchPage, NotSignedIn
from valhalla.server.console.home import Home
from valhalla.server.console.layout import Layout
from valhalla.server.console.lists import Lists
from valhalla.server.console.live import Live
from valhalla.server.console.many import Many
from valhalla.server.console.oidc.views import SigningInElsewhere
from valhalla.server.console.records import Records
from valhalla.server.console.rendering import HEADERS, Assets, Pages
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.signing_in import SigningIn
from valhalla.server.console.visit import Visit

PREFIX: Final = "/console"
_AGAIN: Final = 5
"""Seconds until a page asks again for what was away."""
View = Callable[[Visit], Awaitable[Response]]
_log = get_logger("console")


class Console:
    """Pages over the API, mounted beside it: nothing of the API's own path is longer for it."""

    def __init__(
        self,
        sessions: Sessions,
        pages: Sequence[Page],
        trusted: Sequence[Network],
        live: Live,
        elsewhere: SigningInElsewhere | None = None,
        public: str | None = None,
    ) -> None:
        """``trusted`` are the proxies whose word about addresses is believed; ``elsewhere`` signs in with an issuer.

        ``public`` is how browsers reach the console, if the settings say so.
        """
        self._public = public
        self._elsewhere = elsewhere
        self._sessions = sessions
        self._declared = pages
        self._trusted = trusted
        self._assets = Assets()
        self._pages = Pages(self._assets)
        self._inner: ASGIApp | None = None
        self._live = live
        mount = Mount(PREFIX, app=self._answer, name="console")
        # what its pages send is judged when the console asks for it, by the path that it is then
        mount.while_closed = "write"  # type: ignore[attr-defined]
        self.routes = (Route(PREFIX, self._lead, name="console"), mount)
        self._router: Router | None = None

    def open(self, routes: Sequence[Any], inner: ASGIApp) -> None:
        """Know the API's routes, and whom to ask: a gate that takes a client's id for its key.

        Raises:
            LookupError: a page is described wrongly.
        """
        self._inner = inner
        abilities = Abilities(Index(routes), self._declared)
        layout = Layout(self._pages, abilities)
        self._abilities = abilities
        self._lists = Lists(abilities, layout, self._live)
        self._records = Records(abilities, layout, self._live)
        self._many = Many(abilities, layout, self._lists, self._sessions)
        self._acting = Acting(abilities, layout, self._sessions)
        elsewhere = self._elsewhere
        home = Home(layout, self._live)
        signing = SigningIn(self._sessions, self._pages, elsewhere=elsewhere)
        both = ["GET", "POST"]
        self._router = Router(
            [
                Route("/static/{mark}/{name}", self._static),
                Route("/login", self._view(signing.login), methods=both),
                *([] if elsewhere is None else self._ways(elsewhere)),
                Route("/link", self._view(signing.link), methods=both),
                Route("/session", self._plain(signing.make_link), methods=["POST"]),
                Route("/logout", self._view(signing.logout), methods=["POST"]),
                Route("/events", self._view(self._live.events)),
                Route("/series", self._view(self._live.series)),
                Route("/", self._view(home.home)),
                Route("/part/{name}", self._view(home.part)),
                Route("/do/{slug}/{action}", self._view(self._action), methods=both),
                Route("/all/{slug}/{action}", self._view(self._all), methods=both),
                Route("/{slug}", self._view(self._table)),
                Route("/{slug}/{key:path}", self._view(self._record)),
            ],
            redirect_slashes=False,
        )

    def _ways(self, elsewhere: SigningInElsewhere) -> list[Route]:
        async def come_back(visit: Visit) -> Response:
            return await elsewhere.come_back(visit, self._pages)

        return [
            Route("/oidc", self._view(elsewhere.depart)),
            Route("/oidc/callback", self._view(come_back)),
            Route("/oidc/backchannel", self._plain(elsewhere.ended), methods=["POST"]),
        ]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._router is not None, "the console is not open yet"
        request = Request(scope, receive)
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await self._problem(request, from_http(error).document(), error.status_code)(scope, receive, send)

    async def _lead(self, _request: Request) -> Response:
        return RedirectResponse(f"{PREFIX}/", 307, headers=HEADERS)

    def _view(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                address = visits.address_of(request, self._trusted, self._public)
                token = visits.cookie(request, self._sessions.cookie)
                session = await self._sessions.find(token, address)
                assert self._inner is not None
                caller = None if session is None else Caller(self._inner, session, address)
                return await view(Visit(request, session, caller, address))
            except NotSignedIn as problem:
                return self._to_login(request, problem)
            except Refused as refused:
                return self._problem(request, refused.problem, refused.status)
            except Problem as problem:
                return self._problem(request, problem.document(correlation_id=correlation_id()), problem.status)
            except ClientDisconnect:
                return Response(status_code=499)

        return answer

    def _plain(self, view: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        # for programs: problems are the gate's to render
        async def answer(request: Request) -> Response:
            return await view(request)

        return answer

    async def _static(self, request: Request) -> Response:
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        found = self._assets.answer(request.path_params["mark"], request.path_params["name"], zipped=zipped)
        return found or self._problem(request, NoSuchPage("there is no such file").document(), 404)

    async def _table(self, visit: Visit) -> Response:
        slug, dot, form = visit.request.path_params["slug"].partition(".")
        page = self._page(visit, slug)
        if dot:
            if form != "csv" or page.report:
                raise NoSuchPage
            return await self._lists.sheet(visit, page)
        if visit.query.get("view") == "history" and (path := self._abilities.changes(page)) is not None:
            return await self._lists.history(visit, page, path)
        return await self._lists.table(visit, page)

    async def _record(self, visit: Visit) -> Response:
        page = self._page(visit, visit.request.path_params["slug"])
        return await self._records.record(visit, page, visit.request.path_params["key"])

    async def _action(self, visit: Visit) -> Response:
        page = self._page(visit, visit.request.path_params["slug"])
        return await self._acting.action(visit, page, visit.request.path_params["action"])

    async def _all(self, visit: Visit) -> Response:
        page = self._page(visit, visit.request.path_params["slug"])
        return await self._many.act(visit, page, visit.request.path_params["action"])

    def _page(self, visit: Visit, slug: str) -> Page:
        caller = visit.caller
        page = self._abilities.pages.get(slug)
        # whether a page exists is no secret; that one has not the scope is worth saying
        if page is None:
            raise NoSuchPage
        caller.session.principal.require(self._abilities.scope(page) or "")
        return page

    def _to_login(self, request: Request, problem: NotSignedIn) -> Response:
        if request.headers.get("hx-request") == "true" or request.url.path.endswith(("/events", "/series")):
            return self._problem(request, problem.document(), 401)
        base = request.scope.get("root_path", "")
        visit = Visit(request, None, None, None)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        wanted = here if request.method == "GET" and here != f"{base}/" else ""
        return RedirectResponse(visit.path("login", next=wanted), 303, headers=HEADERS)

    def _problem(self, request: Request, problem: Mapping[str, Any], status: int) -> Response:
        """Return a problem as a page; what it says was checked by nobody, so it is escaped like everything."""
        base = request.scope.get("root_path", "")
        shown = {"title": "Something went wrong", "detail": "", "help": "", "code": "", **problem}
        # what is away comes back: a page that was only looked at asks again by itself
        again = status == 503 and request.method == "GET" and request.headers.get("hx-request") != "true"
        headers = {"Refresh": str(_AGAIN)} if again else {}
        sent = request.method != "GET"
        return self._pages.answer(
            "problem.html", status, headers=headers, base=base, problem=shown, again=_AGAIN if again else 0, sent=sent
        )
