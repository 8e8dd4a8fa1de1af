"""Filling a fresh schema from a user's own template, with the sandbox's rights."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from valhalla.kit.redact import redact
from valhalla.sandbox.errors import TemplateFailed
from valhalla.sandbox.templates.kinds import Command, Scripts, Snapshot
from valhalla.sandbox.templates.restoring import restore

_TAIL = 2000


async def seed(
    template: Scripts | Command | Snapshot,
    *,
    login: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]],
    environment: Mapping[str, str],
) -> None:
    """Run the template's files or snapshot through ``login()``, or its command with ``environment``.

    Raises:
        TemplateFailed: a statement or the command failed or took too long; names the file or the exit status.
    """
    if isinstance(template, Command):
        await _run_command(template, environment)
        return
    connection = await login()
    try:
        if isinstance(template, Scripts):
            await _run_scripts(template, connection)
        else:
            await restore(template, connection)
    finally:
        with contextlib.suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=2)


async def _run_scripts(template: Scripts, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    end = time.monotonic() + template.timeout.total_seconds()
    for path in template.files:
        try:
            text = await asyncio.to_thread(path.read_text)
            await connection.execute(text, timeout=max(0.001, end - time.monotonic()))
        except TimeoutError as error:
            seconds = template.timeout.total_seconds()
            detail = f"{path.name}: the files took longer than {seconds:g} s"
            raise TemplateFailed(detail, template=template.name, file=path.name) from error
        except (asyncpg.PostgresError, UnicodeDecodeError, ValueError, OSError) as error:
            raise TemplateFailed(f"{path.name}: {error}", template=template.name, file=path.name) from error


async def _run_command(template: Command, environment: Mapping[str, str]) -> None:
    # The control plane's own environment holds its secrets, so only what programs need to start is passed on.
    inherited = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR") if key in os.environ
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *template.argv,
            cwd=template.cwd,
            env={**inherited, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise TemplateFailed(f"'{template.argv[0]}' cannot be started: {error}", template=template.name) from error
    tail = bytearray()
    try:
        async with asyncio.timeout(template.timeout.total_seconds()):
            await _collect(process, tail)
            status = await process.wait()
    except TimeoutError as error:
        seconds = template.timeout.total_seconds()
        raise TemplateFailed(f"the command took longer than {seconds:g} s", template=template.name) from error
    finally:
        if process.returncode is None:
            _end(process)
            await process.wait()
    if status:
        output: Any = redact(tail.decode(errors="replace"))
        raise TemplateFailed(f"the command exited with {status}", template=template.name, output=output)


async def _collect(process: asyncio.subprocess.Process, tail: bytearray) -> None:
    """Keep the last of what the command prints; the rest must be read too, or the command would block."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(65_536):
        tail += chunk
        del tail[:-_TAIL]


def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the command with everything it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
