"""The use case of bot tokens: an owner asks for their sandbox's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.discord.outbound.tokens import bot_token

if TYPE_CHECKING:
    from valhalla.sandbox.service import SandboxService


class BotTokens:
    """Nothing is stored: the token derives from the sandbox's id, and is good as long as it runs."""

    def __init__(self, cell: CellKey, sandboxes: Callable[[], SandboxService]) -> None:
        self._cell = cell
        self._sandboxes = sandboxes

    async def get(self, principal: Principal, reference: str) -> tuple[Sandbox, str]:
        """Return a running sandbox and the token of its bot.

        Raises:
            SandboxNotFound: there is none, or it is another owner's.
            NotRunning: it is not running.
        """
        principal.require("sandbox:write")
        sandboxes = self._sandboxes()
        sandbox = await sandboxes.get(principal, reference)
        sandboxes.must_run(sandbox)
        return sandbox, bot_token(self._cell, sandbox.id)
