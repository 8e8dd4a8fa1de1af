"""Addresses of databases: what they name, what may be shown of them, and which belong to production. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from valhalla.blocks.errors import BadDatabase, ProductionDatabase
from valhalla.kit.redact import MASK, is_secret_name

Kind = Literal["postgresql", "sqlite"]

_DIALECTS: Final[Mapping[str, Kind]] = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite"}
_DRIVERS: Final = {"postgresql": ("", "psycopg", "psycopg2"), "sqlite": ("", "pysqlite")}
# words, not parts of words: "products" and "delivery" are none of them
_MARKS: Final = re.compile(r"(?:^|[^a-z])(?:prod|production|prd|live)(?=$|[^a-z])", re.IGNORECASE)
_NAMING: Final = frozenset({"host", "hostaddr", "dbname", "database", "user", "service", "application_name"})
ENVIRONMENTS: Final = ("VALHALLA_ENV", "APP_ENV", "ENVIRONMENT", "ENV", "DJANGO_ENV", "FLASK_ENV")
"""Variables by which programs say where they run."""
PRODUCTION: Final = "VALHALLA_PRODUCTION_DATABASES"
"""The variable that lists what is production: hosts, database names or ``host/database``, between commas."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database's address. ``url`` holds the password, ``shown`` does not."""

    kind: Kind
    url: str
    shown: str
    hosts: tuple[str, ...]
    database: str
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def parse(url: str) -> Address:
    """Read an address.

    Raises:
        BadDatabase: it is none of a PostgreSQL or SQLite database. The message holds no part of it.
    """
    scheme, colon, rest = url.partition("://")
    dialect, _, driver = scheme.partition("+")
    kind = _DIALECTS.get(dialect)
    if not colon or kind is None:
        raise BadDatabase("db_url must begin with postgresql:// or sqlite:///")
    if driver not in _DRIVERS[kind]:
        raise BadDatabase(f"the driver of db_url must be {' or '.join(_DRIVERS[kind][1:])}, or be left out")
    if kind == "sqlite":
        return _sqlite(rest)
    try:
        parts = urlsplit(f"postgresql://{rest}")
        # reading the port finds out whether it is a number
        ports = parts.netloc.rpartition("@")[2] if "," in parts.netloc else (parts.port, parts.hostname)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise BadDatabase("db_url is no address: quote '@', '/', ':' and '%' in its password") from None
    hosts = ports if isinstance(ports, str) else (parts.hostname or "")
    named = [value for name, value in query if name.lower() in _NAMING]
    database = unquote(parts.path.lstrip("/"))
    user = unquote(parts.username or "")
    return Address(
        kind,
        f"postgresql+psycopg://{rest}",
        f"postgresql://{_shown_login(parts.username, parts.password)}{hosts_and_port(parts.netloc)}"
        f"{parts.path}{_shown_query(query)}",
        tuple(host.rpartition(":")[0] or host for host in hosts.lower().split(",") if host),
        database,
        (*hosts.split(","), database, user, *named),
    )


def _sqlite(rest: str) -> Address:
    path = rest.removeprefix("/")
    if not rest.startswith("/") or path in {"", ":memory:"} or "mode=memory" in path:
        raise BadDatabase("a SQLite address is sqlite:///path/to/file; for one in memory say use_memory=True")
    if "?" in path:
        raise BadDatabase("a SQLite address has no options here")
    return Address("sqlite", f"sqlite:///{path}", f"sqlite:///{path}", (), unquote(path), tuple(path.split("/")[-2:]))


def hosts_and_port(netloc: str) -> str:
    """Return the part of an address behind the login."""
    return netloc.rpartition("@")[2]


def _shown_login(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    return f"{user}:{MASK}@" if password is not None else f"{user}@"


def _shown_query(query: list[tuple[str, str]]) -> str:
    shown = (f"{name}={MASK if _hides(name) else quote(value)}" for name, value in query)
    return f"?{'&'.join(shown)}" if query else ""


def _hides(name: str) -> bool:
    return is_secret_name(name) or name.lower() in {"passfile", "sslkey", "options"}


def refuse_production(address: Address, environ: Mapping[str, str]) -> None:
    """Accept an address, or refuse it as one of production.

    It is one if a part of it says so (``prod``, ``production``, ``prd``, ``live`` as a word), if
    ``VALHALLA_PRODUCTION_DATABASES`` lists it, or if the program says that it runs in production.

    Raises:
        ProductionDatabase: it is one.
    """
    for name in address.names:
        if (found := _MARKS.search(name)) is not None:
            word = found[0].strip("-_./: 0123456789")
            raise ProductionDatabase(f"{address.shown} is marked as production by the word '{word}'")
    for variable in ENVIRONMENTS:
        if environ.get(variable, "").strip().lower() in {"prod", "production", "prd", "live"}:
            raise ProductionDatabase(f"this program runs in production ({variable}); {address.shown} is not opened")
    listed = {one.strip().lower() for one in environ.get(PRODUCTION, "").split(",")} - {""}
    database = address.database.lower()
    own = {database, *address.hosts, *(f"{host}/{database}" for host in address.hosts)}
    if listed & own:
        raise ProductionDatabase(f"{address.shown} is listed in {PRODUCTION}")
