"""A child process that answers one line of JSON with another, and is killed when it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_LINE: Final = 4 * 2**20
_IDLE: Final = 60.0
# what a library needs to find its files and zones; no variable of ours, which may be a secret
_PASSED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH")


class ChildFailed(Exception):  # noqa: N818 - what it came to
    """The child was killed over its time, or died over its memory."""


class Child:
    """Runs ``python -m module`` while it is needed. Callers are served one after the other.

    The module reads requests from its standard input and writes answers to its standard output, one per line. A child
    that nobody asks for a minute is ended.
    """

    def __init__(self, module: str, *, memory: int) -> None:
        """``memory`` in bytes is its whole address space."""
        self._module = module
        self._memory = memory
        self._process: asyncio.subprocess.Process | None = None
        self._lock: asyncio.Lock | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._lock is not None and self._lock.locked()

    async def ask(self, request: Mapping[str, Any], *, seconds: float, start: float = 20.0) -> Any:
        """Return the answer to a request, within ``seconds`` besides ``start`` for a child that has to be started.

        Raises:
            ChildFailed: it took longer, or it died.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                process = await self._running(start)
                return await self._exchange(process, msgspec.json.encode(request) + b"\n", seconds)
            except BaseException:
                await self.close()
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(_IDLE, self._kill)

    async def close(self) -> None:
        """End the child."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if (process := self._process) is not None:
            self._kill()
            with contextlib.suppress(Exception):
                await process.wait()

    async def _exchange(self, process: asyncio.subprocess.Process, line: bytes, seconds: float) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(line)
                await process.stdin.drain()
                answer = await process.stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"it took longer than {seconds:g} s") from None
        except (OSError, ValueError) as error:
            raise ChildFailed("it answered too much, or nothing any more") from error
        if not answer.endswith(b"\n"):
            raise ChildFailed("it needed more memory than it may have, or crashed")
        try:
            return msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # such as half of a surrogate pair, which Python writes and JSON does not know
            raise ChildFailed("what it answered is no text") from error

    async def _running(self, seconds: float) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                str(self._memory),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED if name in os.environ},
                limit=_LINE,
                # Ctrl-C in a terminal is for us: who ends the child is its parent
                start_new_session=True,
            )
            await self._exchange(self._process, b"{}\n", seconds)
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


class Children:
    """Several children of one module: one that hangs does not hold up who asks another."""

    def __init__(self, module: str, *, memory: int, most: int) -> None:
        """``memory`` in bytes is of each; no more are started than are busy at once."""
        self._each = [Child(module, memory=memory) for _ in range(most)]
        self._turn = 0

    async def ask(self, request: Mapping[str, Any], *, seconds: float) -> Any:
        """Return the answer of the first child that is free.

        Raises:
            ChildFailed: as ``Child.ask``.
        """
        free = next((child for child in self._each if not child.is_busy), None)
        if free is None:
            self._turn = (self._turn + 1) % len(self._each)
            free = self._each[self._turn]
        return await free.ask(request, seconds=seconds)

    async def close(self) -> None:
        """End all of them."""
        for child in self._each:
            await child.close()
