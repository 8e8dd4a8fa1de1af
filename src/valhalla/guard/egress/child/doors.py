"""Carries bytes between a door in the child's network and the endpoint that it stands for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping

Address = tuple[str, int]


async def serve(door: socket.socket, target: Address) -> asyncio.Server:
    """Accept on ``door``, which lives in another network, and connect from ours."""

    carried: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a task of our own: what the program leaves open is cancelled, which the stream server would report as an error
        task = asyncio.create_task(_carry(reader, writer, target))
        carried.add(task)
        task.add_done_callback(carried.discard)

    return await asyncio.start_server(accept, sock=door)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Address) -> None:
    try:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            # the far side refuses: so do we
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()
    finally:
        writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
        return
    # one side is gone: the other must not wait for it
    sink.transport.abort()


def listening(tables: Mapping[str, str]) -> frozenset[int]:
    """Return the ports that somebody waits at, from the kernel's tables ``tcp``, ``tcp6``, ``udp`` and ``udp6``."""
    ports: set[int] = set()
    for name, table in tables.items():
        for line in table.splitlines()[1:]:
            words = line.split()
            if len(words) > 3 and (words[3] == "0A" or name.startswith("udp")):
                ports.add(int(words[1].rpartition(":")[2], 16))
    return frozenset(ports)
