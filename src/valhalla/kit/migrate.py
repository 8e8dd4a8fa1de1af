"""Bring a database to the schema this code was written for. Alembic is imported only when there is work to do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection, make_url

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.advisory import MIGRATIONS
from valhalla.kit.db import SCHEMA
from valhalla.kit.sqlstates import is_away

HEAD: Final = "0037"
"""The newest step in ``kit/migrations/versions``; revisions have four digits, so text order is their order."""

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def current(conn: Connection) -> str | None:
    """Return the revision the database is at, or ``None`` for one without our schema."""
    if conn.scalar(sa.text(f"SELECT to_regclass('{SCHEMA}.alembic_version')")) is None:
        return None
    return conn.scalar(sa.text(f"SELECT version_num FROM {SCHEMA}.alembic_version"))  # noqa: S608


def needs_upgrade(conn: Connection) -> bool:
    """Say whether the database is older than this code.

    Raises:
        Misconfigured: it is newer: an older release must not write to it.
    """
    revision = current(conn)
    if revision is not None and revision > HEAD:
        raise Misconfigured(
            f"the database is at schema revision {revision}, this release knows {HEAD} at most",
            help="Start the newer release again, or restore the backup that was made before the upgrade.",
            setting="database_url",
            revision=revision,
            known=HEAD,
        )
    return revision != HEAD


def upgrade_blocking(url: str, *, timeout: float = 60.0) -> bool:
    """Migrate to ``HEAD`` in one transaction; one process works and the others wait ``timeout`` seconds at most.

    Returns:
        Whether this call changed the schema.

    Raises:
        Misconfigured: the database is newer than the code.
        Unavailable: it cannot be reached, or another process held the migration lock for too long.
    """
    engine = sa.create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=sa.NullPool,
        connect_args={"application_name": "valhalla-migrate", "connect_timeout": 5},
    )
    try:
        with engine.connect() as conn:
            if not needs_upgrade(conn):
                return False
            conn.rollback()
            _lock(conn, timeout)
            try:
                changed = needs_upgrade(conn)
                if changed:
                    _upgrade(conn)
                conn.commit()
                return changed
            finally:
                conn.rollback()
                conn.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATIONS})
    except sqlalchemy.exc.DBAPIError as error:
        if is_away(error):
            raise Unavailable("postgres", "the control plane's Postgres cannot be reached") from error
        raise
    finally:
        engine.dispose()


def _lock(conn: Connection, timeout: float) -> None:
    # asked for again and again instead of waited for: a waiting statement's snapshot would block the other's
    # CREATE INDEX CONCURRENTLY
    deadline = time.monotonic() + timeout
    while not conn.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATIONS}):
        conn.rollback()
        if time.monotonic() > deadline:
            raise Unavailable(
                "postgres", f"another process has been migrating the database for more than {timeout:g} s"
            )
        time.sleep(0.05)
    conn.commit()


def _upgrade(conn: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    conn.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
