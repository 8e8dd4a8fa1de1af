"""One request to its upstream and the answer back, piece by piece: memory does not grow with either of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.http.errors import RequestRefused, RequestTooLarge
from valhalla.sandbox.routing.http.proxy.contracts import Target
from valhalla.sandbox.routing.http.proxy.headers import Headers, back

# an answer of one piece leaves in one piece
_SMALL: Final = 65_536
_BARE: Final = frozenset({204, 304})


class Unreachable(Exception):  # noqa: N818 - what the target is
    """Nothing of an answer has come. ``slow``: within its time; ``sent``: it may have seen the request."""

    def __init__(self, *, slow: bool, sent: bool) -> None:
        super().__init__()
        self.slow = slow
        self.sent = sent


class Body:
    """The body of a request on its way; counted, whatever its headers say. ``refusal``: why it broke off."""

    def __init__(self, request: web.BaseRequest, most: int) -> None:
        self._request = request
        self._most = most
        self.refusal: Problem | None = None
        if most and (request.content_length or 0) > most:
            raise RequestTooLarge(f"the limit is {most} bytes")

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield it; the caller is told to send it first, if it waits for that."""
        request = self._request
        if request.headers.get("Expect", "").lower() == "100-continue":
            transport = request.transport
            if transport is not None:
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        read = 0
        try:
            async for part in request.content.iter_any():
                read += len(part)
                if self._most and read > self._most:
                    self.refusal = RequestTooLarge(f"the limit is {self._most} bytes")
                    raise self.refusal
                yield part
        except (web.RequestPayloadError, aiohttp.ClientError, OSError, ValueError) as error:
            self.refusal = RequestRefused("the body broke off, or has no form")
            raise self.refusal from error


async def relay(
    request: web.BaseRequest,
    client: aiohttp.ClientSession,
    target: Target,
    path: str,
    headers: Headers,
    marks: Headers,
    *,
    most: int = 0,
) -> web.StreamResponse:
    """Send a request on and its answer back; ``marks`` are headers that the answer gets.

    Raises:
        Unreachable: no answer has begun.
        RequestTooLarge: its body has more than ``most`` bytes (0: any).
        RequestRefused: its body has no form, or broke off.
    """
    body = Body(request, most) if request.body_exists else None
    try:
        answer = await client.request(
            request.method,
            URL(target.root + path, encoded=True),
            headers=CIMultiDict(headers),
            # without a length it is sent on in chunks, and none is made up
            data=None if body is None else body.parts(),
            allow_redirects=False,
        )
    except (aiohttp.ClientError, OSError) as error:
        if body is not None and body.refusal is not None:
            # the client of the upstream tells it as a failure of its connection
            raise body.refusal from error
        raise unreachable(error) from error
    try:
        return await _answer(request, answer, marks)
    finally:
        answer.release()


def unreachable(error: Exception) -> Unreachable:
    """Return what an error of the client means."""
    connecting = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    return Unreachable(slow=isinstance(error, TimeoutError), sent=not connecting)


class _AsGiven(web.StreamResponse):
    """An answer that says of itself what its upstream said: aiohttp would call what has no type a binary file."""

    async def _prepare_headers(self) -> None:
        untyped = "Content-Type" not in self.headers
        await super()._prepare_headers()
        if untyped:
            self.headers.popall("Content-Type", None)


class _WholeAsGiven(_AsGiven, web.Response):
    pass


async def _answer(request: web.BaseRequest, answer: aiohttp.ClientResponse, marks: Headers) -> web.StreamResponse:
    if answer.status < 200:
        # it would turn the caller's connection into a tunnel that nobody asked for
        raise Unreachable(slow=False, sent=True)
    headers: CIMultiDict[str] = CIMultiDict([*back(tuple(answer.headers.items())), *marks])
    headers.setdefault("Server", "valhalla")
    reason, length = answer.reason or "", answer.content_length
    if length is not None and length <= _SMALL and request.method != "HEAD" and answer.status not in _BARE:
        try:
            body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error) from error
        headers.popall("Content-Length", None)
        return _WholeAsGiven(status=answer.status, reason=reason, headers=headers, body=body)
    response = _AsGiven(status=answer.status, reason=reason, headers=headers)
    await response.prepare(request)
    try:
        async for part in answer.content.iter_any():
            await response.write(part)
    except (aiohttp.ClientError, OSError):
        # half an answer is not passed off as a whole one: the caller sees that it broke off
        cut(request)
    return response


def cut(request: web.BaseRequest) -> None:
    """End the connection of a request, as a crash would."""
    if request.transport is not None:
        request.transport.abort()
