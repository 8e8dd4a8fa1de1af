"""A caller over a kept-alive connection that costs 40 µs per request, so that two cores measure the server."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"

    @classmethod
    async def connect(cls, url: str, key: str) -> Self:
        """Open a connection to a control plane at ``http://host:port``."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)), key)

    async def call(self, method: str, path: str, body: Any = None, *, expect: Sequence[int] = (200, 201, 202)) -> Any:
        """Send one request; return the document of its answer."""
        content = b"" if body is None else json.dumps(body).encode()
        self._writer.write(f"{method} {path} {self._head}content-length: {len(content)}\r\n\r\n".encode() + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        start = head.index(b"content-length: ") + 16
        answer = await self._reader.readexactly(int(head[start : head.index(b"\r", start)]))
        if int(head[9:12]) not in expect:
            raise RuntimeError(f"{method} {path} answered {head[9:12].decode()}: {answer[:300].decode()}")
        return answer

    async def create(self, owner: str) -> dict[str, Any]:
        """Make a sandbox."""
        return json.loads(await self.call("POST", "/api/sandboxes", {"owner": owner, "ttl": "1h"}))

    async def destroy(self, sandbox_id: str) -> None:
        """Cut a sandbox."""
        await self.call("DELETE", f"/api/sandboxes/{sandbox_id}")

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def timed(work: Awaitable[Any]) -> float:
    """Return the milliseconds of one piece of work."""
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


async def together(
    url: str, key: str, callers: int, work: Callable[[Caller], Awaitable[list[float]]]
) -> tuple[list[float], float]:
    """Let callers work side by side; return every sample and the seconds that all took."""
    open_callers = [await Caller.connect(url, key) for _ in range(callers)]
    started = time.perf_counter()
    samples = await asyncio.gather(*map(work, open_callers))
    seconds = time.perf_counter() - started
    for caller in open_callers:
        caller.close()
    return [sample for each in samples for sample in each], seconds


def processor_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
