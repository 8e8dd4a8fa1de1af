"""Writes under the guard: each is an action of the sandbox, and a line of the ledger; what was pretended is one too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.guard.errors import NotDone
from valhalla.guard.guard import Guard
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.sandbox.routing.discord.outbound.answers import Reply
from valhalla.sandbox.routing.discord.outbound.pacing import TooMany
from valhalla.sandbox.routing.discord.outbound.rules import Call
from valhalla.sandbox.routing.discord.outbound.upstream import NotSent

NAME: Final = "discord.write"


class GuardedWrites:
    """Bodies are not noted: they are what people say to each other."""

    def __init__(self, guard: Guard, db: Database, ledger: Ledger) -> None:
        self._guard = guard
        self._db = db
        self._ledger = ledger

    async def do(self, sandbox: str, call: Call, body: bytes, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Send it as an action; what it was answered is the bot's alone."""
        del body
        got: list[Reply] = []
        failed: list[Exception] = []

        async def discord_write(method: str, path: str) -> int:
            del method, path
            try:
                got.append(await send())
            except (NotSent, TooMany) as error:
                failed.append(error)
                raise NotDone(str(error)) from error
            except Exception as error:
                failed.append(error)
                raise
            return got[0].status

        with self._guard.acting(f"sandbox:{sandbox}" if sandbox else "sandbox:interaction"):
            outcome = await self._guard.arun(NAME, discord_write, call.method, hidden(call), outcome=True)
        if got:
            return got[0]
        if failed:
            raise failed[0]
        outcome.unwrap()
        raise AssertionError("an action that was not done has a reason")

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
