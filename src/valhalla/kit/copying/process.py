"""The parent's side: start the child, hear its reports, and never leave it behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from valhalla.kit.copying.spec import Plan, Report

# what the interpreter and its libraries need; nothing of ours, and no secret, is handed on
_HANDED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
# memory stays flat: few arenas, and what is freed goes back at once
_MEMORY: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
}
_LINE: Final = 2**20


async def copying(plan: Plan) -> AsyncIterator[Report]:
    """Do a plan in a child process and yield its reports; the last is ``done`` or names a ``fault``.

    Whoever ends the iteration early (a cancelled job) ends the child, and waits for that.
    """
    environment = {name: os.environ[name] for name in _HANDED if name in os.environ} | _MEMORY
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "valhalla.kit.copying",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        limit=_LINE,
        # a Ctrl-C of the terminal is for the control plane: it ends its children itself
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(msgspec.json.encode(plan) + b"\n")
        with contextlib.suppress(ConnectionError):
            await child.stdin.drain()
        ended = False
        while line := await child.stdout.readline():
            report = msgspec.json.decode(line, type=Report)
            ended = report.done or report.fault is not None
            yield report
            if ended:
                return
        if not ended:
            code = await child.wait()
            yield Report(fault="away", detail=f"the process that copied ended with {code}")
    finally:
        child.stdin.close()
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        await asyncio.shield(child.wait())
