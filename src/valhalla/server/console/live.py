"""What pages hear while they are open: the API's own stream, for as long as the session lasts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from valhalla.features.observability.stream import rules
from valhalla.kernel.principal import Principal
from valhalla.kit.json import dumps, dumps_text
from valhalla.server.console.calling import Caller, Refused
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

_REGISTRY: Final = f"{rules.REGISTRY}."
_CLOSED: Final = b'event: closed\ndata: {"reason": "unauthenticated"}\n\n'


class Live:
    """Streams and series."""

    def __init__(self, sessions: Sessions, revisions: Callable[[], Mapping[str, int]]) -> None:
        """``revisions`` are those of the registries as this process knows them."""
        self._sessions = sessions
        self._revisions = revisions

    async def standing(self, visit: Visit, topics: Collection[str]) -> str:
        """Return where everything stands, asked before a page is read: what happens from then on is told."""
        if visit.partial or not topics or not visit.caller.allows("events:read"):
            return "{}"
        wanted = {topic.removeprefix(_REGISTRY) for topic in topics if topic.startswith(_REGISTRY)}
        revisions = {name: revision for name, revision in self._revisions().items() if name in wanted}
        try:
            document = await visit.caller.get("/events", {"follow": "false", "limit": 1})
        except Refused:
            return dumps_text({"revisions": revisions})
        return dumps_text({"after": document["next"], "revisions": revisions})

    async def events(self, visit: Visit) -> Response:
        """Hand the stream of events through, as far as the person may hear of what the page is about.

        Whoever reconnects says behind which id: a browser in a header that is newer than what the page said first.
        """
        principal = visit.caller.session.principal
        topics = [one for one in visit.query.get("topics", "").split(",") if one and _may_hear(principal, one)]
        seen = visit.request.headers.get("last-event-id")
        headers = {} if seen is None else {"last-event-id": seen}
        query = {"topics": ",".join(topics), "after": visit.query.get("after") if seen is None else None}
        return _Through(visit.caller, self._sessions, query, headers)

    async def series(self, visit: Visit) -> Response:
        """Return samples of metrics for charts."""
        query = {"from": visit.query.get("from"), "step": visit.query.get("step")}
        document: Any = await visit.caller.get("/system/health/history", query)
        return Response(dumps(document), media_type="application/json", headers=HEADERS)


def _may_hear(principal: Principal, topic: str) -> bool:
    return topic == rules.REGISTRY or principal.allows(rules.scope_of(topic))


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
