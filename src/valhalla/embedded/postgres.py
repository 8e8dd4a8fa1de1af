"""The embedded Postgres 18: one cluster, made once, reachable over loopback TCP only."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
from pathlib import Path
from typing import ClassVar, Final

from valhalla.embedded import identity, records
from valhalla.embedded.accounts import private_file
from valhalla.embedded.binaries import postgres_program
from valhalla.embedded.ports import HOST
from valhalla.embedded.process import Child, Ladder, Program
from valhalla.embedded.server import Server, Sign, Site, Steps
from valhalla.kernel.problems import Misconfigured

SUPERUSER: Final = "postgres"
_MAJOR: Final = "18"
_STAGED: Final = "staged-"
_CELL_FILE: Final = "valhalla.cell"
_INITDB_LADDER: Final[Ladder] = ((signal.SIGTERM, 3), (signal.SIGKILL, 2))
_SESSION_LADDER: Final[Ladder] = ((signal.SIGQUIT, 1), (signal.SIGKILL, 2))

_HBA: Final = "host all all 127.0.0.1/32 scram-sha-256\n"
_CONFIG: Final = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = scram-sha-256
max_connections = 200
superuser_reserved_connections = 3
reserved_connections = 10
max_locks_per_transaction = 1024
shared_buffers = 128MB
dynamic_shared_memory_type = posix
jit = off
fsync = on
max_wal_size = 2GB
min_wal_size = 128MB
checkpoint_timeout = 10min
checkpoint_completion_target = 0.9
autovacuum_naptime = 5s
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.english'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
# a statement, and the context or detail of an error, may hold a secret or a sandbox's data
log_statement = 'none'
log_min_error_statement = panic
log_min_messages = error
log_error_verbosity = terse
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


class Postgres(Server):
    """Runs ``postgres`` on ``<data_dir>/postgres/cluster``."""

    name: ClassVar[str] = "postgres"
    # fast shutdown, immediate shutdown (recovers at the next start), and what cannot be refused
    ladder: ClassVar[Ladder] = ((signal.SIGINT, 10), (signal.SIGQUIT, 3), (signal.SIGKILL, 2))

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._binary = postgres_program("postgres")
        self._initdb = postgres_program("initdb")
        self._cluster = self.folder / "cluster"

    @property
    def password(self) -> str:
        """The superuser's password: secret."""
        return self.site.cell.password("embedded.postgres.superuser")

    @property
    def url(self) -> str:
        """The superuser's URL: secret."""
        return f"postgresql://{SUPERUSER}:{self.password}@{HOST}:{self.port}/postgres"

    def end_previous(self) -> None:
        """End what an earlier run left behind, an unfinished initdb too."""
        records.end_previous(self.site.record("initdb"), _INITDB_LADDER)
        super().end_previous()

    def prepare(self) -> Steps:
        """Make the cluster if there is none yet, and clear what a crash left.

        Raises:
            StartFailed: initdb failed.
            Misconfigured: the cluster is of another version or of another cell key.
        """
        # what an interrupted initdb left: a cluster gets its name only when it is whole
        for leftover in self.folder.glob(f"{_STAGED}*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        if not self._cluster.exists():
            yield from self._make_cluster()
        self._check_cluster()
        self._clear_leftovers()

    def _make_cluster(self) -> Steps:
        account = self.site.account
        staged = self.folder / f"{_STAGED}{secrets.token_hex(4)}"
        password_file = staged.with_suffix(".password")
        private_file(password_file, self.password + "\n", account)
        command = (
            str(self._initdb), "--pgdata", str(staged), "--username", SUPERUSER, "--pwfile", str(password_file),
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        try:
            child = self.run("initdb", self._program(self._initdb, command, signal.SIGTERM))
            yield from self.wait(child, lambda: "ready" if child.poll() == 0 else "silent")
        finally:
            password_file.unlink(missing_ok=True)
        private_file(staged / _CELL_FILE, self.site.cell.cell + "\n", account)
        staged.rename(self._cluster)
        _sync(self.folder)
        self.site.record("initdb").unlink(missing_ok=True)

    def _check_cluster(self) -> None:
        version = (self._cluster / "PG_VERSION").read_text().strip()
        if version != _MAJOR:
            raise Misconfigured(
                f"{self._cluster} holds data of Postgres {version}, and the embedded server is {_MAJOR}",
                help="Dump it with the old version and load it into a new data_dir, or use an external server.",
                setting="data_dir",
            )
        if (self._cluster / _CELL_FILE).read_text().strip() != self.site.cell.cell:
            raise Misconfigured(
                f"{self._cluster} was made with another cell key, so no password fits",
                help="Use the cell key that belongs to this data_dir, or start with a new data_dir.",
                setting="cell_key",
            )

    def _clear_leftovers(self) -> None:
        """End what still runs on this cluster without a note, and forget a stranger who has the old process id.

        A server that was killed can leave sessions behind, busy with a query; they would keep the next one out.
        """
        lock = self._cluster / "postmaster.pid"
        main = next(iter(_lines(lock)), "")
        left = identity.find(str(self._binary), self._cluster)
        for pid in sorted(left, key=lambda pid: str(pid) != main):
            if (started := identity.started(pid)) is not None:
                ladder = self.ladder if str(pid) == main else _SESSION_LADDER
                records.end(records.Record(pid, started, str(self._binary)), ladder)
        if main.isdecimal() and identity.started(int(main)) is not None:
            lock.unlink(missing_ok=True)

    def configure(self) -> Program:
        """Write ``postgresql.conf`` and ``pg_hba.conf``; what ALTER SYSTEM has set stays."""
        private_file(self._cluster / "postgresql.conf", _CONFIG.format(port=self.port), self.site.account)
        private_file(self._cluster / "pg_hba.conf", _HBA, self.site.account)
        return self._program(self._binary, (str(self._binary), "-D", str(self._cluster)), signal.SIGINT)

    def _program(self, binary: Path, command: tuple[str, ...], death: signal.Signals) -> Program:
        share = self._binary.parent.parent / "share"
        bootstrap = next(share.rglob("postgres.bki"), share)
        reach = (self.folder, bootstrap)
        return Program(command, self.site.log(binary.name), death, self.site.account, reach)

    def look(self, child: Child) -> Sign:
        """Read the server's own status line, then try the port."""
        lines = _lines(self._cluster / "postmaster.pid")
        if len(lines) < 8 or lines[0] != str(child.pid) or lines[7].strip() != "ready":
            return "silent"
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return "silent"
        return "ready"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
