"""The shop whose guarded actions the integrations call. Its rows are in a file, so another process goes on with it."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from valhalla.guard import Guard, NotDone
from valhalla.guard.stores.sqlite import SqliteStore

ROLES = {"ana": ["finance"], "bo": ["finance"]}
# one action with a key of its own, one that has the tool call's
BOTH = [("refund", {"order": "B-1", "cents": 900}), ("gift", {"to": "di", "cents": 900})]
ROOT = Path(__file__).parents[3]


class Shop:
    """``path`` is a folder: it has the guard's rows, and the book of the bank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.guard = Guard(SqliteStore(path / "guard.db"), roles=ROLES, patience=5)
        self.mood = "well"

        @self.guard.action("refund", key="order", approval=lambda order, cents: "1 of finance" if cents > 100 else None)
        def refund(order: str, cents: int) -> str:
            """Give money back.

            Args:
                order: the order's number
                cents: how much
            """
            return self._pay(order, cents)

        @self.guard.action("gift", approval="1 of finance")
        async def gift(to: str, cents: int) -> str:
            """Give money away."""
            return self._pay(to, cents)

        @self.guard.action("grant", approval="1 of finance")
        async def grant(to: str, amount: Decimal) -> str:
            """Give an exact amount of money away."""
            return self._pay(to, int(amount * 100))

        @self.guard.action("tip", limit="2/minute")
        def tip(to: str, cents: int) -> str:
            """Give a little money."""
            return self._pay(to, cents)

        @self.guard.action("lot", limit="2/second")
        def lot(to: str, cents: int) -> str:
            """Give a little money, seldom."""
            return self._pay(to, cents)

        self.refund, self.gift, self.grant, self.tip, self.lot = refund, gift, grant, tip, lot

    def paid(self) -> list[tuple[str, int]]:
        """Return the payments that the bank has made, whoever asked for them."""
        book = self.path / "paid"
        return [tuple(json.loads(line)) for line in book.read_text().splitlines()] if book.exists() else []

    def _pay(self, to: str, cents: int) -> str:
        if self.mood == "busy":
            raise NotDone("the bank is closed")
        with (self.path / "paid").open("a") as book:
            book.write(json.dumps([to, cents]) + "\n")
        if self.mood == "silent":
            raise TimeoutError("no answer")
        return f"receipt-{len(self.paid())}"

    def hold(self) -> str:
        """Return the id of the only hold."""
        (record,) = self.guard.waiting()
        return record.id


def begun(module: str, path: Path) -> str:
    """Let another process call ``module.begin(shop)``; return what it kept before it was killed."""
    command = [sys.executable, "-m", __name__, module, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def main(module: str, path: str) -> None:
    """Be the other process."""
    sys.stdout.write(asyncio.run(importlib.import_module(module).begin(Shop(Path(path)))))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
