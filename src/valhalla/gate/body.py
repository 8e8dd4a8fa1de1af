"""The body of one request: counted, whatever its headers say of its length, and due within a time."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from valhalla.gate.errors import BodyTooSlow
from valhalla.gate.rules import too_large
from valhalla.kernel.problems import Problem


class Body:
    """Hands a body on piece by piece and keeps none of it. ``refusal`` is set when it breaks a bound."""

    __slots__ = ("_deadline", "_left", "_limit", "_over", "_receive", "_timeout", "refusal")

    def __init__(self, receive: Receive, limit: int, timeout: float) -> None:
        """``limit`` in bytes; ``timeout`` in seconds, from the first piece that the application asks for."""
        self._receive = receive
        self._limit = self._left = limit
        self._timeout = timeout
        self._deadline: float | None = None
        self._over = False
        self.refusal: Problem | None = None

    async def receive(self) -> Message:
        """Return the next message of the server.

        Raises:
            HTTPException: a bound is broken. Frameworks turn any other exception here into a 400; whatever they make
                of it, the gate answers with ``refusal``.
        """
        if self._over:
            # the end is waited for as long as the answer takes
            return await self._receive() if self.refusal is None else {"type": "http.disconnect"}
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise self._refused(BodyTooSlow(f"it has {self._timeout:g} seconds")) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._refused(too_large(self._limit))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._over = True
        return message

    def _refused(self, problem: Problem) -> HTTPException:
        self._over = True
        self.refusal = problem
        return HTTPException(problem.status, problem.detail)
