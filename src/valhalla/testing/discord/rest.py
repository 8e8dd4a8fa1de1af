"""The REST interface: authentication, limits, routes; every request is recorded with its answer."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from valhalla.testing.discord import documents, on_application, on_channels, on_interactions
from valhalla.testing.discord.calls import Call, Refused, Request
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.gateway import Gateway, Receive, Scope, Send
from valhalla.testing.discord.limits import Limits, too_many
from valhalla.testing.discord.routes import Route

_PREFIXES: Final = ("/api/v10", "/api/v9", "/api")


class Rest:
    """Answers requests, and tells the gateway's sessions what they changed."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.world = gateway.world
        self.limits = Limits()
        self.calls: list[Call] = []
        self.called = asyncio.Event()
        self.interaction_deadline = 3.0
        """Seconds within which an interaction's first answer is accepted."""
        tables = (on_application.routes(), on_channels.routes(), on_interactions.routes())
        self._routes: list[Route] = [route for table in tables for route in table.all]

    def tell(self, event: str, data: Doc, guild_id: str | None) -> None:
        """Let the gateway say what happened."""
        self.gateway.sessions.dispatch(event, data, guild_id)

    def tell_message(self, event: str, message: Doc) -> None:
        """Let the gateway say what happened to a message."""
        told = self.world.event_of(message)
        self.tell(event, told, told.get("guild_id"))

    def written(self, request: Request, body: Doc, channel_id: str, before: Doc | None = None) -> Doc:
        """Return what is to be written of a message, its files among it; an edit keeps those that it names."""
        kept = {each["id"]: each for each in (before or {}).get("attachments", [])}
        wanted: list[Doc] = body.get("attachments") or []
        named = [kept[each["id"]] for each in wanted if each.get("id") in kept]
        new = [documents.attachment(self.world.ids.next(), channel_id, *each) for each in request.files]
        mentioned = "attachments" in body or new
        return {**body, "attachments": named + new} if mentioned else body

    def gateway_url(self, request: Request) -> str:
        """Return where the gateway is for whoever asks: on the same port, with or without TLS as it came."""
        host = request.headers.get("host", "127.0.0.1")
        if request.headers.get(":scheme") == "https":
            return "wss://gateway.discord.gg"
        return f"ws://{host}"

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer, headers = self._answer(_request(scope, raw))
        body = b"" if status == 204 else msgspec.json.encode(answer)
        # clients decode whatever says that it is JSON
        about = {"content-type": "application/json", "content-length": str(len(body))} if body else {}
        sent = about | headers
        pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        headers: dict[str, str] = {}
        try:
            planned = self.limits.refusal(request.method, request.path)
            if planned is not None:
                status, answer, headers = planned.status, planned.body, planned.headers
            else:
                status, answer = self._route(request, headers)
        except Refused as refused:
            status, answer = refused.status, refused.body
        self.calls.append(
            Call(
                request.method,
                request.path,
                request.query,
                request.body,
                request.token,
                status,
                msgspec.json.decode(msgspec.json.encode(answer)),
                tuple(name for name, _ in request.files),
                request.headers,
            )
        )
        self.called.set()
        return status, answer, headers

    def _route(self, request: Request, headers: dict[str, str]) -> tuple[int, Any]:
        for route in self._routes:
            found = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if found is None:
                continue
            request.parameters = {name: unquote(value) for name, value in found.groupdict().items()}
            if not route.open and request.token != self.gateway.token:
                raise Refused(401, 0, "401: Unauthorized")
            more, after = self.limits.take(route.method, route.template, route.major(request.parameters))
            headers.update(more)
            if after is not None:
                return 429, {"message": "You are being rate limited.", "retry_after": round(after, 3), "global": False}
            answer = route.handler(self, request)
            return (204, None) if answer is None else (200, answer)
        raise Refused(404, 0, "404: Not Found")

    async def wait_for(self, method: str, path: str, *, count: int, within: float) -> Call:
        """Return the ``count``-th call of this kind as soon as it has been made."""
        async with asyncio.timeout(within):
            while True:
                self.called.clear()
                found = [call for call in self.calls if call.is_of(method, path)]
                if len(found) >= count:
                    return found[count - 1]
                await self.called.wait()

    def throttle(self, after: float, *, times: int, scope: str, method: str | None, path: str | None) -> None:
        """Answer the next requests with 429."""
        from valhalla.testing.discord.limits import Refusal

        body: Doc = {"message": "You are being rate limited.", "retry_after": after, "global": scope == "global"}
        self.limits.refusals.append(Refusal(429, body, too_many(after, scope), times, method, path))


def _request(scope: Scope, raw: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    token = headers.pop("authorization", None)
    # escapes stay as they were sent: an emoji is one part of a path
    path = scope["raw_path"].decode("latin-1").partition("?")[0] if scope.get("raw_path") else scope["path"]
    for prefix in _PREFIXES:
        if path.startswith(prefix + "/"):
            path = path.removeprefix(prefix)
            break
    body, files = _body(headers.get("content-type", ""), raw)
    return Request(
        scope["method"],
        path,
        dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers | {":scheme": scope["scheme"]},
        None if token is None else token.removeprefix("Bot ").strip(),
        body,
        files,
    )


def _body(content_type: str, raw: bytes) -> tuple[Any, tuple[tuple[str, int], ...]]:
    if not raw:
        return None, ()
    if not content_type.startswith("multipart/form-data"):
        try:
            return msgspec.json.decode(raw), ()
        except msgspec.DecodeError:
            return None, ()
    body, files = None, list[tuple[str, int]]()
    parts = message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + raw)
    for part in parts.walk():
        content: Any = part.get_payload(decode=True) or b""
        if part.get_param("name", header="content-disposition") == "payload_json":
            body = msgspec.json.decode(content)
        elif part.get_filename():
            files.append((str(part.get_filename()), len(content)))
    return body, tuple(files)
