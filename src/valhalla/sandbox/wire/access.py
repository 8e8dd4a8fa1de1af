"""How a sandbox is entered, as the API says it."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class PostgresAccess(TypedDict):
    """The sandbox's own login."""

    url: str
    host: str
    port: int
    database: str
    user: str
    password: str
    schema: str
    valid_until: str


class ValkeyAccess(TypedDict):
    """The sandbox's own user; every key and channel starts with ``prefix``."""

    url: str
    host: str
    port: int
    user: str
    password: str
    prefix: str


class NatsAccess(TypedDict):
    """The sandbox's own account; ``creds`` is the text of a ``.creds`` file."""

    url: str
    creds: str
    prefix: str
    inbox_prefix: str
    jwt_expires_at: str


class SqliteAccess(TypedDict):
    """The sandbox's own file, on the control plane's machine."""

    url: str
    path: str


class ConnectionOut(TypedDict):
    """Addresses and credentials of the slices that there are; all of it is secret.

    ``env`` lacks ``NATS_CREDS``: a file of the client's.
    """

    postgres: NotRequired[PostgresAccess]
    valkey: NotRequired[ValkeyAccess]
    nats: NotRequired[NatsAccess]
    sqlite: NotRequired[SqliteAccess]
    env: dict[str, str]
