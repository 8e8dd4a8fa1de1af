"""The console asks the API in the person's name, inside the process: the same gate, routes, rules and answers.

What a page shows or does is therefore never more than the key behind the session may, also while writes are closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlencode

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valhalla.kernel.problems import Problem
from valhalla.kit.correlation import correlation_id
from valhalla.kit.http import principal_in
from valhalla.kit.json import dumps
from valhalla.kit.trace import current, render
from valhalla.server.console.contracts import Session

_AUTHORIZATION: Final = b"authorization"


class Refused(Exception):  # noqa: N818 - the API's own word
    """The API refused; ``problem`` is its document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(str(problem.get("detail", status)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """Return what it says; nothing for an empty answer.

        Raises:
            Refused: it is a problem.
        """
        if self.status >= 400:
            try:
                problem: Any = msgspec.json.decode(self.body)
            except msgspec.DecodeError:
                problem = {}
            raise Refused(self.status, problem if isinstance(problem, dict) else {})  # pyright: ignore[reportUnknownArgumentType]
        return msgspec.json.decode(self.body) if self.body else None


class Caller:
    """The API as one person who is signed in sees it."""

    def __init__(self, inner: ASGIApp, session: Session, address: str | None) -> None:
        """``inner`` is the gate that takes the id of a client as its key; nothing from outside reaches it."""
        self._inner = inner
        self.session = session
        self._address = address

    def allows(self, scope: str | None) -> bool:
        """Say whether the person may use a route of this scope."""
        return scope is None or self.session.principal.allows(scope)

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return what a path says.

        Raises:
            Refused: the API says no.
        """
        return (await self.send("GET", path, query=query)).document()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return the whole answer."""
        content = b"" if body is None else dumps(body)
        status, answered, parts = 500, dict[str, str](), list[bytes]()

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            else:
                parts.append(message.get("body", b""))

        more = {**(headers or {}), "content-length": str(len(content))}
        if content:
            more["content-type"] = "application/json"
        await self._inner(self._scope(method, path, query, more), receive, send)
        return Answer(status, answered, b"".join(parts))

    async def stream(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        """Hand an answer through as it comes."""
        await self._inner(self._scope("GET", path, query, headers), receive, send)

    def _scope(self, method: str, path: str, query: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Scope:
        trace = current()
        sent = {
            "authorization": f"Bearer {self.session.principal.id}",
            "x-correlation-id": correlation_id() or "",
            **({} if trace is None else {"traceparent": render(trace)}),
            **headers,
        }
        said = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(said, doseq=True).encode(),
            "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in sent.items()],
            "client": None if self._address is None else (self._address, 0),
            "server": None,
            "state": {},
        }


def without_key(app: ASGIApp) -> ASGIApp:
    """Hide the inner gate's key from the routes, to whom it would be a wrong one."""

    async def hidden(scope: Scope, receive: Receive, send: Send) -> None:
        if principal_in(scope) is None:
            raise Problem("the console asked in nobody's name")
        headers = [header for header in scope["headers"] if header[0] != _AUTHORIZATION]
        await app({**scope, "headers": headers}, receive, send)

    return hidden
