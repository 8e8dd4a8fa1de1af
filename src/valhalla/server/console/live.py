"""What pages hear while they are open: the API's own stream, for as long as the session lasts."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from valhalla.kit.json import dumps
from valhalla.server.console.calling import Caller
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

_CLOSED: Final = b'event: closed\ndata: {"reason": "unauthenticated"}\n\n'


class Live:
    """Streams and series."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def events(self, visit: Visit) -> Response:
        """Hand the stream of events through; whoever reconnects says behind which id."""
        seen = visit.request.headers.get("last-event-id")
        headers = {} if seen is None else {"last-event-id": seen}
        return _Through(visit.caller, self._sessions, {"after": visit.query.get("after")}, headers)

    async def series(self, visit: Visit) -> Response:
        """Return samples of metrics for charts."""
        query = {"from": visit.query.get("from"), "step": visit.query.get("step")}
        document: Any = await visit.caller.get("/system/health/history", query)
        return Response(dumps(document), media_type="application/json", headers=HEADERS)


class _Through(Response):
    """An answer of the API as it comes. A key that was revoked, or has other rights now, hears nothing more."""

    def __init__(self, caller: Caller, sessions: Sessions, query: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__()
        self._caller, self._sessions, self._query, self._headers = caller, sessions, query, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until one of both ends it."""
        session = self._caller.session
        over = False

        async def watched(message: Message) -> None:
            nonlocal over
            if over:
                return
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                known = {name for name, _ in own}
                message = {**message, "headers": [*own, *(each for each in message["headers"] if each[0] not in known)]}
            elif self._sessions.again(session) != session.principal:
                over = True
                message = {"type": "http.response.body", "body": _CLOSED, "more_body": False}
            await send(message)

        async def heard() -> Message:
            if over:
                return {"type": "http.disconnect"}
            return await receive()

        await self._caller.stream("/events", self._query, self._headers, heard, watched)
