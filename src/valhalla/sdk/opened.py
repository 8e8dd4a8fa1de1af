"""A sandbox that was opened for use: ready addresses, and the one file that NATS clients want."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from valhalla.sdk.access import Connection
from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.models import Sandbox

T = TypeVar("T")


class OpenSandbox:
    """A running sandbox and the way into it. Whoever opened it destroys it; ``repr`` shows no secret.

    Reading the address of a slice that the sandbox does not have raises ``ValhallaError``.
    """

    def __init__(self, sandbox: Sandbox, connection: Connection) -> None:
        self.info = sandbox
        self.connection = connection
        self._folder: Path | None = None
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        until = self.expires_at and f"{self.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"OpenSandbox(id={self.id!r}, name={self.name!r}, template={self.info.template!r}, expires_at={until})"

    @property
    def id(self) -> str:
        """The sandbox's id, which no other ever has."""
        return self.info.id

    @property
    def name(self) -> str:
        """The sandbox's name, as the command line takes it."""
        return self.info.name

    @property
    def owner(self) -> str:
        """Whose sandbox it is."""
        return self.info.owner

    @property
    def expires_at(self) -> datetime | None:
        """When it ends by itself."""
        return self.info.expires_at

    @property
    def schema(self) -> str:
        """The Postgres schema that ``database_url`` opens."""
        return _have(self.connection.postgres, "postgres").schema

    @property
    def database_url(self) -> str:
        """The Postgres address with user and password: ``postgresql://…``."""
        return _have(self.connection.postgres, "postgres").url

    def sqlalchemy_url(self, driver: str = "psycopg") -> str:
        """Return the Postgres address as SQLAlchemy takes it: ``postgresql+psycopg://…``."""
        return f"postgresql+{driver}://{self.database_url.partition('://')[2]}"

    @property
    def sqlite_url(self) -> str:
        """The SQLite address as SQLAlchemy takes it: ``sqlite:///…``."""
        return _have(self.connection.sqlite, "sqlite").url

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file; it is on the control plane's machine."""
        return Path(_have(self.connection.sqlite, "sqlite").path)

    @property
    def redis_url(self) -> str:
        """The Valkey address with user and password: ``redis://…``."""
        return _have(self.connection.valkey, "valkey").url

    @property
    def valkey_prefix(self) -> str:
        """What every key and channel must start with."""
        return _have(self.connection.valkey, "valkey").prefix

    @property
    def nats_url(self) -> str:
        """The NATS address; the credentials are apart."""
        return _have(self.connection.nats, "nats").url

    @property
    def nats_prefix(self) -> str:
        """What every subject must start with."""
        return _have(self.connection.nats, "nats").prefix

    @property
    def nats_creds(self) -> str:
        """The text of the NATS credentials file."""
        return _have(self.connection.nats, "nats").creds

    @property
    def nats_creds_file(self) -> Path:
        """The NATS credentials as a file that only this user can read; it ends with the sandbox's use."""
        text = self.nats_creds
        # most programs never ask: the file is made when one does
        with self._turn:
            if self._folder is None:
                folder = Path(tempfile.mkdtemp(prefix="valhalla-"))
                descriptor = os.open(folder / "nats.creds", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                self._folder = folder
            return self._folder / "nats.creds"

    @property
    def env(self) -> dict[str, str]:
        """The variables that ``valhalla sandbox env`` prints, for a child process."""
        creds = {"NATS_CREDS": str(self.nats_creds_file)} if self.connection.nats else {}
        return {**self.connection.env, **creds}

    def forget(self) -> None:
        """Remove the credentials file. The sandbox itself is untouched."""
        with self._turn:
            folder, self._folder = self._folder, None
        if folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


def _have(access: T | None, name: str) -> T:
    if access is None:
        raise ValhallaError(f"this sandbox has no {name} slice")
    return access
