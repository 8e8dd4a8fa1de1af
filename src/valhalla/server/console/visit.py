"""One request of a browser: who sent it, whether a form is its own, and what every page of it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from valhalla.gate.rules import Network, client_address, is_proxied
from valhalla.server.console import forms
from valhalla.server.console.calling import Caller
from valhalla.server.console.contracts import Session
from valhalla.server.console.errors import FormRefused, NotSignedIn
from valhalla.server.console.sessions import Sessions

_FOREIGN: Final = frozenset({"cross-site", "same-site"})
_SCHEMES: Final = frozenset({"http", "https"})
_PUBLIC: Final = "console_public"


class Visit:
    """What a view is given. ``caller`` raises for a visitor who is not signed in."""

    def __init__(self, request: Request, session: Session | None, caller: Caller | None, address: str | None) -> None:
        self.request = request
        self.session = session
        self._caller = caller
        self.address = address
        self.base: str = request.scope.get("root_path", "")
        """Where the console is mounted."""
        asks = request.headers
        self.partial = asks.get("hx-request") == "true" and asks.get("hx-history-restore-request") != "true"

    @property
    def caller(self) -> Caller:
        """The API in the person's name.

        Raises:
            NotSignedIn: nobody is signed in.
        """
        if self._caller is None:
            raise NotSignedIn
        return self._caller

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the address."""
        return self.request.query_params

    @property
    def origin(self) -> str:
        """How the person's browser calls this server: what commands to copy begin with."""
        url, known = self.request.url, getattr(self.request.state, _PUBLIC, None)
        if known is not None:
            return known.removesuffix(self.base)
        return f"{url.scheme}://{url.netloc}"

    def path(self, *parts: str, **query: Any) -> str:
        """Return the address of a page."""
        said = {name: value for name, value in query.items() if value not in (None, "")}
        tail = f"?{urlencode(said)}" if said else ""
        return "/".join([self.base, *(quote(part, safe="") for part in parts)]) + tail

    def is_here(self, address: str) -> bool:
        """Say whether an address is one of the console's own pages: nobody is led elsewhere by a link."""
        return address.startswith(f"{self.base}/") and "\\" not in address and "//" not in address.partition("?")[0]

    async def form(self, sessions: Sessions, of: str) -> dict[str, str]:
        """Return what was sent by a form that was made for ``of`` (the session).

        Raises:
            FormRefused: it was not.
            Invalid: it is no form.
        """
        if self.request.headers.get("sec-fetch-site") in _FOREIGN:
            raise FormRefused
        form = forms.read(await self.request.body())
        token = self.request.headers.get("x-form-token") or form.get("_form", "")
        if not token or not sessions.is_form_token(of, token):
            raise FormRefused
        return form


def cookie(request: Request, name: str) -> str | None:
    """Return a cookie; None for a header that cannot be read."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def keep(response: Response, request: Request, name: str, value: str, age: int, path: str) -> None:
    """Set a cookie that scripts cannot read and other sites' pages do not send; no age removes it."""
    response.set_cookie(
        name, value, max_age=age, path=path, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


def address_of(request: Request, trusted: Sequence[Network], public: str | None = None) -> str | None:
    """Return who asks, as the gate sees it; from then on the request's scheme is the one that the browser used.

    ``public`` is how browsers reach the console by the settings, which a proxy cannot contradict.
    """
    peer = None if request.client is None else request.client.host
    if public:
        request.scope["scheme"] = public.partition(":")[0]
        setattr(request.state, _PUBLIC, public.rstrip("/"))
    elif is_proxied(peer, tuple(trusted)):
        # the last hop's word: those before it may be the client's own
        told = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if told in _SCHEMES:
            request.scope["scheme"] = told
    return client_address(peer, dict(request.scope["headers"]), tuple(trusted)) if trusted else peer
