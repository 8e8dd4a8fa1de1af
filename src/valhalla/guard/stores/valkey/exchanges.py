"""Requests and their answers, over a connection of the calling thread's or the running loop's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from valhalla.guard.stores.valkey.faults import Lost, problem, unavailable
from valhalla.guard.stores.valkey.links import Links
from valhalla.guard.stores.valkey.pipeline import Pipeline
from valhalla.guard.stores.valkey.replies import ReplyError, forgotten
from valhalla.guard.stores.valkey.scripts import Name, scripts


class Exchanges:
    """The connections to one server and the scripts of one tenant."""

    def __init__(self, url: str, timeout: float, prefix: str, ledger: int) -> None:
        self._url = url
        self._timeout = timeout
        self._scripts = scripts(prefix, ledger)
        self._links = Links(url, timeout)
        self._pipelines: WeakKeyDictionary[asyncio.AbstractEventLoop, Pipeline] = WeakKeyDictionary()
        self.broke_at = float("-inf")

    def call(self, request: bytes, mark: bytes) -> Any:
        """Return the answer to a request of a verb."""
        script, words = self._scripts["calls"], (request, mark)
        reply = self.ask(script.by_digest(words))
        if forgotten(reply):
            reply = self.ask(script.by_text(words))
        return sound(sound(reply)[0])

    def run(self, name: Name, request: bytes) -> Any:
        """Return what another script says."""
        script = self._scripts[name]
        reply = self.ask(script.by_digest((request,)))
        if forgotten(reply):
            reply = self.ask(script.by_text((request,)))
        return sound(reply)

    def ask(self, command: bytes) -> Any:
        """Return the reply to any command.

        Raises:
            Unavailable: the server cannot be reached, or the connection broke twice.
        """
        try:
            try:
                return self._links.ask(command)
            except Lost as lost:
                self._doubt(lost)
                return self._links.ask(command)
        except Lost as lost:
            raise unavailable(lost) from lost

    async def acall(self, request: bytes, mark: bytes, orphan: Callable[[Any], object] | None = None) -> Any:
        """Async twin of ``call``; ``orphan`` gets the answer if the caller was cancelled meanwhile."""
        pipeline = self.here()
        try:
            try:
                if not pipeline.is_open:
                    await pipeline.open()
                return sound(await pipeline.call(request, mark, orphan))
            except Lost as lost:
                self._doubt(lost)
                await pipeline.open()
                return sound(await pipeline.call(request, mark, orphan))
        except Lost as lost:
            raise unavailable(lost) from lost

    async def arun(self, name: Name, request: bytes) -> Any:
        """Async twin of ``run``."""
        script = self._scripts[name]
        reply = await self.aask(script.by_digest((request,)))
        if forgotten(reply):
            reply = await self.aask(script.by_text((request,)))
        return sound(reply)

    async def aask(self, command: bytes) -> Any:
        """Async twin of ``ask``."""
        pipeline = self.here()
        try:
            try:
                await pipeline.open()
                return await pipeline.ask(command)
            except Lost as lost:
                self._doubt(lost)
                await pipeline.open()
                return await pipeline.ask(command)
        except Lost as lost:
            raise unavailable(lost) from lost

    def here(self) -> Pipeline:
        """Return the connection of the running loop."""
        loop = asyncio.get_running_loop()
        pipeline = self._pipelines.get(loop)
        if pipeline is None:
            pipeline = self._pipelines[loop] = Pipeline(self._url, self._timeout, self._scripts["calls"])
        return pipeline

    def told(self, lost: Lost) -> None:
        """Note that a connection broke under a caller's hands; return if the verb is to be sent once more.

        Raises:
            Unavailable: it is not.
        """
        try:
            self._doubt(lost)
        except Lost:
            raise unavailable(lost) from lost

    def _doubt(self, lost: Lost) -> None:
        """Remember that a connection broke; go on if the verb is to be sent once more.

        Raises:
            Lost: it is not.
        """
        self.broke_at = time.monotonic()
        if not may_repeat(lost):
            raise lost

    def close(self) -> None:
        """Close all connections."""
        self._links.close()
        for pipeline in list(self._pipelines.values()):
            pipeline.close()


def may_repeat(lost: Lost) -> bool:
    """Say whether the verb is sent once more: not to a server that is merely slow, nor to one that was not there."""
    return lost.sent and not isinstance(lost.cause, TimeoutError)


def sound(reply: Any) -> Any:
    """Return a reply that is no error.

    Raises:
        Problem: what the error stands for.
    """
    if isinstance(reply, ReplyError):
        raise problem(reply)
    return reply
