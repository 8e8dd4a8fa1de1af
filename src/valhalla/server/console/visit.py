"""One request of a browser: who sent it, whether a form is its own, and what every page of it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from valhalla.gate.rules import Network, client_address
from valhalla.server.console import forms
from valhalla.server.console.calling import Caller
from valhalla.server.console.contracts import Session
from valhalla.server.console.errors import FormRefused, NotSignedIn
from valhalla.server.console.sessions import Sessions

_FOREIGN: Final = frozenset({"cross-site", "same-site"})


class Visit:
    """What a view is given. ``caller`` raises for a visitor who is not signed in."""

    def __init__(self, request: Request, session: Session | None, caller: Caller | None, address: str | None) -> None:
        self.request = request
        self.session = session
        self._caller = caller
        self.address = address
        self.base: str = request.scope.get("root_path", "")
        """Where the console is mounted."""
        self.partial = request.headers.get("hx-request") == "true"

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
        url = self.request.url
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


def address_of(request: Request, trusted: Sequence[Network]) -> str | None:
    """Return who asks, as the gate sees it."""
    peer = None if request.client is None else request.client.host
    return client_address(peer, dict(request.scope["headers"]), tuple(trusted)) if trusted else peer
