"""The child: one plan on stdin, a report per line on stdout. It ends when its parent does."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from valhalla.kit.copying.reading import AwayError, Key, borders, connected, piece
from valhalla.kit.copying.spec import Place, Plan, Report
from valhalla.kit.copying.writing import Sink, TextSink, TooLargeError

_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# the files of an earlier attempt's child, which ends as soon as it notices that its parent did
_PATIENCE: Final = 10.0
_TICK: Final = 0.25
_AWAY: Final = ("08", "57", "53", "40")


def main() -> int:
    """Read the plan, do it, and say how it ended."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    threading.Thread(target=_watch, daemon=True).start()
    try:
        if not _lock(Path(plan.folder)):
            raise _BusyError
        if sys.platform != "win32":
            import uvloop

            uvloop.run(_run(plan))
        else:
            asyncio.run(_run(plan))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent hears of it
        _say(_fault(error))
        return 1
    return 0


async def _run(plan: Plan) -> None:
    at, told = plan.place.key, 0.0
    telling: asyncio.Task[None] | None = None
    async with connected(plan) as looking, _source(plan) as (sink, copy):
        async for border in borders(looking, plan):
            copying = asyncio.ensure_future(copy(at, border))
            while not (await asyncio.wait({copying}, timeout=_TICK))[0]:
                _say(Report(rows=sink.rows, read=sink.read, written=sink.written))
            cut = sink.cut(copying.result(), border, last=border is None)
            at = border
            if telling is not None and (telling.done() or border is None):
                telling = await telling
            # the disk works while the next pieces come, and is not asked after each
            if telling is None and (border is None or time.monotonic() - told >= _TICK):
                told = time.monotonic()
                telling = asyncio.create_task(_tell(sink, cut, done=border is None))
        if telling is not None:
            await telling


async def _tell(sink: Sink[Any], cut: Future[Place | None], *, done: bool) -> None:
    place = await asyncio.wrap_future(cut)
    if place is not None:
        await asyncio.to_thread(sink.sync)
    rows = sink.rows if place is None else place.rows
    _say(Report(rows=rows, read=sink.read, written=sink.written, place=place, done=done))


@asynccontextmanager
async def _source(plan: Plan) -> AsyncGenerator[tuple[Sink[Any], Callable[[Key | None, Key | None], Awaitable[int]]]]:
    """Connect, and return what takes rows and what copies a piece to it."""
    if plan.format == "parquet":
        from valhalla.kit.copying.columns import Columns
        from valhalla.kit.copying.parquet import ParquetSink

        groups = ParquetSink(plan)
        columns = await asyncio.to_thread(Columns, plan)
        yield groups, lambda after, upto: asyncio.to_thread(columns.piece, after, upto, groups.take)
    else:
        text = TextSink(plan)
        async with connected(plan) as connection:
            yield text, lambda after, upto: piece(connection, plan, after, upto, text.take)


def _lock(folder: Path) -> bool:
    """Be the only one that writes there; the lock ends with the process."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _watch() -> None:
    # the pipe ends with the parent, however that died
    while os.read(0, 4096):
        pass
    os._exit(3)


def _say(report: Report) -> None:
    os.write(1, msgspec.json.encode(report) + b"\n")


def _fault(error: BaseException) -> Report:  # noqa: PLR0911 - one line per kind
    detail = f"{type(error).__name__}: {error}"[:500]
    match error:
        case TooLargeError():
            return Report(fault="too-large")
        case _BusyError():
            return Report(fault="busy")
        case ImportError():
            return Report(fault="missing-library", detail=detail)
        case OSError() if error.errno in _ROOM:
            return Report(fault="no-room", detail=detail)
        case FileNotFoundError():
            return Report(fault="lost", detail=detail)
        case AwayError():
            return Report(fault="away", detail=detail)
        case asyncpg.PostgresError():
            away = (error.sqlstate or "").startswith(_AWAY)
            return Report(fault="away" if away else "refused", detail=detail)
        case asyncpg.InterfaceError() | asyncpg.InternalClientError() | OSError():
            return Report(fault="away", detail=detail)
        case _:
            return Report(fault="refused", detail=detail)


class _BusyError(Exception):
    """Another process writes the same files."""


if __name__ == "__main__":
    os._exit(main())
