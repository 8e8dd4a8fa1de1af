"""The embedded servers of one data directory, started together and stopped in order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from valhalla.embedded.accounts import Account, data_folder, server_account
from valhalla.embedded.contracts import SERVICES, Endpoints, NatsTrust
from valhalla.embedded.lock import DataDirLock
from valhalla.embedded.nats import Nats
from valhalla.embedded.ports import Ports
from valhalla.embedded.postgres import Postgres
from valhalla.embedded.server import Server, Site, Steps
from valhalla.embedded.spawner import Spawner
from valhalla.embedded.valkey import Valkey
from valhalla.kernel.problems import Unavailable
from valhalla.kit.cellkey import CellKey

_PAUSE: Final = 0.003
_SETTLE: Final = 10.0
_DONE: Final = object()


class Stack:
    """The servers below one data directory. They end with this process, however it ends.

    Every method may be called from any thread, and ``stop`` from a signal handler.
    """

    def __init__(
        self,
        data_dir: Path,
        cell: CellKey,
        *,
        want: frozenset[str] = frozenset(SERVICES),
        nats_operator: NatsTrust | None = None,
    ) -> None:
        """Name the services to run; ``nats_operator`` is needed when ``nats`` is one of them.

        Raises:
            ValueError: an unknown service, or NATS without its trust.
        """
        if unknown := want - frozenset(SERVICES):
            raise ValueError(f"unknown services: {sorted(unknown)}")
        if "nats" in want and nats_operator is None:
            raise ValueError("nats needs nats_operator")
        self._data_dir = data_dir.resolve()
        self._cell = cell
        self._want = want
        self._trust = nats_operator
        self._lock = DataDirLock(self._data_dir)
        self._turn = threading.RLock()
        self._stopping = False
        self._servers: dict[str, Server] = {}
        self._spawner = Spawner()
        self._owner = os.getpid()

    def start(self, *, settle: bool = True) -> Endpoints:
        """Start what is wanted, wait until all of it is ready, and say where it is. Does nothing when it runs.

        With ``settle=False`` it returns about two seconds earlier: Valkey then takes users and reads but refuses
        keys until ``settle()`` returns, and there is other work to do meanwhile.

        Raises:
            DataDirInUse: another process runs its servers here.
            MissingBinary: a server's program is not installed.
            StartFailed: a server did not start; the others are stopped again.
            Misconfigured: the data directory cannot be used.
        """
        with self._turn:
            if self._servers:
                return self.endpoints
            self._stopping = False
            account = server_account()
            data_folder(self._data_dir, account)
            self._lock.acquire()
            servers: dict[str, Server] = {}
            try:
                servers = self._servers = self._make_servers(account)
                for server in servers.values():
                    server.end_previous()
                self._drive({name: server.boot() for name, server in servers.items()})
                if settle:
                    self.settle()
            except BaseException:
                # a signal handler's stop may have run already, in the middle of a spawn
                self._servers = servers
                self.stop()
                raise
            return self.endpoints

    def settle(self) -> None:
        """Wait until Valkey accepts keys: two seconds after it started, a constant of cluster mode.

        Raises:
            Unavailable: it does not within ten seconds.
        """
        server = self._servers.get("valkey")
        if isinstance(server, Valkey):
            self._drive({"valkey": server.settle()}, within=_SETTLE)

    def stop(self) -> None:
        """Stop NATS, Valkey and Postgres, in that order; the data stays. Does nothing when nothing runs."""
        if os.getpid() != self._owner:
            # a fork of the owner: these are not its children
            return
        self._stopping = True
        with self._turn:
            for name in reversed(SERVICES):
                if name in self._servers:
                    self._servers[name].stop()
            self._servers = {}
            self._spawner.close()
            self._lock.release()

    def restart(self, name: str, *, settle: bool = True) -> None:
        """Stop one service and start it again, on the same port unless somebody takes it meanwhile.

        Raises:
            KeyError: the service does not belong to this stack, or the stack is not started.
            StartFailed: it did not start again; the others run on.
        """
        with self._turn:
            server = self._servers[name]
            server.stop()
            self._drive({name: server.boot()})
            if settle and name == "valkey":
                self.settle()

    def alive(self) -> dict[str, bool]:
        """Say for each wanted service whether its process runs."""
        running = self.pids()
        return {name: name in running for name in SERVICES if name in self._want}

    def pids(self) -> dict[str, int]:
        """Return the process ids of the services that run."""
        return {name: pid for name, server in self._servers.items() if (pid := server.pid) is not None}

    @property
    def endpoints(self) -> Endpoints:
        """Where the started services answer."""
        postgres, valkey, nats = (self._servers.get(name) for name in SERVICES)
        return Endpoints(
            postgres_superuser_url=postgres.url if isinstance(postgres, Postgres) else None,
            postgres_port=postgres.port if postgres else None,
            valkey_url=valkey.url if isinstance(valkey, Valkey) else None,
            nats_url=nats.url if isinstance(nats, Nats) else None,
            nats_jwt_dir=nats.tokens if isinstance(nats, Nats) else None,
        )

    def _make_servers(self, account: Account | None) -> dict[str, Server]:
        for folder in ("logs", "run"):
            (self._data_dir / folder).mkdir(mode=0o700, exist_ok=True)
        ports = Ports(self._data_dir / "ports.json")
        site = Site(self._data_dir, self._cell, account, ports, self._spawner)
        servers: dict[str, Server] = {}
        if "postgres" in self._want:
            servers["postgres"] = Postgres(site)
        if "valkey" in self._want:
            servers["valkey"] = Valkey(site)
        if "nats" in self._want and self._trust is not None:
            servers["nats"] = Nats(site, self._trust)
        return servers

    def _drive(self, starting: Mapping[str, Steps], *, within: float | None = None) -> None:
        """Advance all starts in turn until each is done; each bounds its own time unless ``within`` (s) does."""
        pending = dict(starting)
        deadline = None if within is None else time.monotonic() + within
        while pending:
            for name, steps in list(pending.items()):
                if self._stopping:
                    raise Unavailable(name, f"{name} was stopped while it started")
                if deadline is not None and time.monotonic() > deadline:
                    raise Unavailable(name, f"{name} was not ready after {within:.0f} s")
                if next(steps, _DONE) is _DONE:
                    del pending[name]
            if pending:
                time.sleep(_PAUSE)
