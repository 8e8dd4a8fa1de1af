"""How to enter a sandbox: addresses and credentials, which no ``repr`` shows."""

from __future__ import annotations

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all wire values."""


class PostgresAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own login to Postgres."""

    url: str
    host: str
    port: int
    database: str
    user: str
    password: str
    schema: str

    def __repr__(self) -> str:
        return f"PostgresAccess(user={self.user!r}, schema={self.schema!r}, password=***)"


class ValkeyAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own Valkey user; every key and channel starts with ``prefix``."""

    url: str
    host: str
    port: int
    user: str
    password: str
    prefix: str

    def __repr__(self) -> str:
        return f"ValkeyAccess(user={self.user!r}, prefix={self.prefix!r}, password=***)"


class NatsAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own NATS account; ``creds`` is the text of a credentials file."""

    url: str
    creds: str
    prefix: str
    inbox_prefix: str = ""

    def __repr__(self) -> str:
        return f"NatsAccess(url={self.url!r}, prefix={self.prefix!r}, creds=***)"


class SqliteAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own SQLite file, on the control plane's machine."""

    url: str
    path: str


class Connection(Model, frozen=True, kw_only=True):
    """How to enter a sandbox. ``env`` lacks only ``NATS_CREDS``, which is a file on the client's side."""

    postgres: PostgresAccess | None = None
    valkey: ValkeyAccess | None = None
    nats: NatsAccess | None = None
    sqlite: SqliteAccess | None = None
    env: dict[str, str]

    def __repr__(self) -> str:
        rest = f"sqlite={self.sqlite!r}, env=***)"
        return f"Connection(postgres={self.postgres!r}, valkey={self.valkey!r}, nats={self.nats!r}, {rest}"
