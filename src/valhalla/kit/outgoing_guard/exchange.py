"""One request and its answer, bounded in time and in bytes whatever the other side does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

from valhalla.kit.outgoing_guard.errors import AnswerTooLarge


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``seconds`` until its last byte."""

    status: int
    headers: httpx.Headers
    body: bytes
    seconds: float


async def exchange(client: httpx.AsyncClient, request: httpx.Request, *, seconds: float, most: int) -> Answer:
    """Send a request and read at most ``most`` bytes of its answer within ``seconds`` altogether.

    A compressed body is refused by asking for none and never unpacked: few bytes would become many.

    Raises:
        TimeoutError: it took longer, however much came meanwhile.
        AnswerTooLarge: there was more.
        TargetRefused: the client may not go there.
        httpx.TransportError: there was no answer, or it broke off.
    """
    request.headers["Accept-Encoding"] = "identity"
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > most:
                    raise AnswerTooLarge(f"the answer has more than {most} bytes")
        finally:
            await response.aclose()
    return Answer(response.status_code, response.headers, bytes(body), time.perf_counter() - began)
