"""Where an orchestrator works: a database of its own, or a sandbox of a control plane."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from valhalla.blocks.errors import BadDatabase, NotInitialized
from valhalla.blocks.sandbox_database_manager import SandboxDatabaseManager

if TYPE_CHECKING:
    from valhalla.sdk.client import Client
    from valhalla.sdk.opened import OpenSandbox


class Place:
    """The database that the orchestrator's actions work on; ``open`` and ``close`` once each."""

    def __init__(
        self,
        use_memory: bool | None,
        db_url: str | None,
        control_plane: bool | str | Client | None,
        *,
        ttl: str,
        disposable: bool,
    ) -> None:
        """Without anything it is a database in memory.

        Raises:
            BadDatabase: two places are named, or none.
            ProductionDatabase: the database is marked as one of production.
        """
        plane = control_plane not in (None, False)
        if plane and (use_memory or db_url is not None):
            raise BadDatabase("control_plane= brings a database along: do not name another")
        self._plane, self._ttl = control_plane if plane else None, ttl
        self._exit = contextlib.ExitStack()
        self._manager: SandboxDatabaseManager | None = None
        self.client: Client | None = None
        self.sandbox: OpenSandbox | None = None
        if not plane:
            memory = db_url is None if use_memory is None else use_memory
            self._manager = SandboxDatabaseManager(db_url, use_memory=memory, disposable=disposable)
            self._exit.callback(self._manager.cleanup)

    @property
    def manager(self) -> SandboxDatabaseManager:
        """The database.

        Raises:
            NotInitialized: the sandbox is not there yet.
        """
        if self._manager is None:
            raise NotInitialized("the sandbox is made by initialize()")
        return self._manager

    def open(self) -> None:
        """Make the sandbox, if there is to be one.

        Raises:
            ValhallaError: the control plane does not answer, or refuses.
        """
        if self._plane is None:
            return
        from valhalla.sdk.client import Client

        with contextlib.ExitStack() as made:
            if isinstance(self._plane, Client):
                self.client = self._plane
            else:
                self.client = made.enter_context(Client(self._plane if isinstance(self._plane, str) else None))
            self.sandbox = made.enter_context(self.client.sandbox(ttl=self._ttl))
            self._manager = SandboxDatabaseManager(self.sandbox.sqlalchemy_url(), disposable=True)
            made.callback(self._manager.cleanup)
            self._exit = made.pop_all()

    def close(self) -> None:
        """Let go of the database; the sandbox is destroyed."""
        self._exit.close()

    def check(self) -> Any:
        """Ask the control plane whether it is ready.

        Raises:
            ValhallaError: it does not answer.
        """
        from valhalla.kit.checks import Verdict

        assert self.client is not None
        ready = self.client.ready()
        failing = sorted(name for name, check in ready.checks.items() if not check.ok)
        return Verdict(ready.is_ready, None if ready.is_ready else f"not ready: {', '.join(failing)}")
