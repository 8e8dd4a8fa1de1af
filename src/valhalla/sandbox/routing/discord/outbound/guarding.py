"""Writes under the guard: each is an action of the sandbox, and a line of the ledger; what was pretended is one too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.guard.errors import NotDone
from valhalla.guard.guard import Guard
from valhalla.kernel.problems import Problem
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.outbound.answers import Reply
from valhalla.sandbox.routing.discord.outbound.pacing import TooMany
from valhalla.sandbox.routing.discord.outbound.rules import Call
from valhalla.sandbox.routing.discord.outbound.upstream import NotSent

NAME: Final = "discord.write"
_log = get_logger("sandbox.routing.discord")


@dataclass(slots=True)
class _Sending:
    """One call under the guard, and what came of it."""

    send: Callable[[], Awaitable[Reply]]
    reply: Reply | None = None
    error: Exception | None = None


class GuardedWrites:
    """Bodies are not noted: they are what people say to each other."""

    def __init__(self, guard: Guard, db: Database, ledger: Ledger) -> None:
        self._guard = guard
        self._db = db
        self._ledger = ledger
        # one function for all, which the guard remembers: it would keep one for each call, with its body
        self._sending: ContextVar[_Sending] = ContextVar("sending")

    async def do(self, sandbox: str, call: Call, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Send it as an action; what it was answered is the bot's alone.

        Raises:
            NotSent, Unanswered, TooMany: as ``send``.
            Problem: it cannot be noted, so it was not sent; or it may not be done.
        """
        mine = _Sending(send)
        token = self._sending.set(mine)
        try:
            who = f"sandbox:{sandbox}" if sandbox else "sandbox:interaction"
            # lines of the ledger have no arguments: what it was about they tell by this
            with self._guard.acting(who, correlation=f"{call.method} {hidden(call)}"):
                outcome = await self._guard.arun(NAME, self._write, call.method, hidden(call), outcome=True)
        except Problem as problem:
            # done, and only the end of it could not be noted: the bot gets its answer, the guard knows it as unsettled
            if mine.reply is None:
                raise
            _log.warning("a write is done and its end is not noted", error=problem.detail)
            return mine.reply
        finally:
            self._sending.reset(token)
        if mine.reply is not None:
            return mine.reply
        if mine.error is not None:
            raise mine.error
        outcome.unwrap()
        raise AssertionError("an action that was not done has a reason")

    async def _write(self, method: str, path: str) -> int:
        del method, path
        mine = self._sending.get()
        try:
            mine.reply = await mine.send()
        except (NotSent, TooMany) as error:
            mine.error = error
            raise NotDone(str(error)) from error
        except Exception as error:
            mine.error = error
            raise
        return mine.reply.status

    async def pretend(self, sandbox: str, call: Call, why: str) -> None:
        """Write a line of what was not sent."""

        def work(conn: Connection) -> None:
            self._ledger.append(
                conn,
                actor=f"sandbox:{sandbox}",
                action="discord.pretended",
                kind="sandbox",
                subject=sandbox,
                details={"method": call.method, "path": hidden(call), "why": why},
            )

        await self._db.run(work)


def hidden(call: Call) -> str:
    """Return a path without the token that may be in it."""
    parts = call.path.split("/")
    secret = {"interactions": 3, "webhooks": 3}.get(parts[1] if len(parts) > 1 else "", 0)
    return "/".join("***" if number == secret and secret else part for number, part in enumerate(parts))
