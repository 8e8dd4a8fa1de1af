"""``valhalla db``: the control plane's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory

if TYPE_CHECKING:
    from valhalla.server.options import ServeOptions


@click.group("db")
@shared_options
def command() -> None:
    """Migrate the control plane's database; 'up' does it by itself.

    \b
    Example:
      valhalla db upgrade --config valhalla.toml
    """


@command.command("upgrade")
@serving_options
@shared_options
@pass_invocation
def upgrade(invocation: Invocation, **said: Any) -> None:
    """Bring the database to this version's schema; safe to run twice, and by two at once.

    \b
    Example:
      valhalla db upgrade
    """
    from valhalla.server import database

    _print(invocation, database.upgrade(_options(invocation, said)))


@command.command("current")
@serving_options
@shared_options
@pass_invocation
def current(invocation: Invocation, **said: Any) -> None:
    """Show the database's revision.

    \b
    Example:
      valhalla db current
    """
    from valhalla.server import database

    _print(invocation, database.current(_options(invocation, said)))


@command.command("bootstrap")
@click.option("--superuser-url", envvar="VALHALLA_SUPERUSER_URL", required=True, help="Prefer VALHALLA_SUPERUSER_URL.")
@click.option("--role", default="valhalla", show_default=True, help="The control plane's role, made if missing.")
@click.option("--database", default="valhalla", show_default=True, help="Its database, made if missing.")
@serving_options
@shared_options
@pass_invocation
def bootstrap(invocation: Invocation, superuser_url: str, role: str, database: str, **said: Any) -> None:
    """Prepare an external Postgres once: a role that is no superuser, a database, hardened catalogs.

    Prints the URL for VALHALLA_DATABASE_URL; it holds a password.

    \b
    Example:
      VALHALLA_SUPERUSER_URL=postgresql://postgres@db.internal/postgres valhalla db bootstrap
    """
    from valhalla.server.database import bootstrap as make

    url = make(_options(invocation, said), superuser_url, role=role, database=database)
    if invocation.json:
        emit({"database_url": url})
    else:
        say(url)


def _options(invocation: Invocation, said: dict[str, Any]) -> ServeOptions:
    return Serving.of(**said).options(data_directory(invocation.data_dir))


def _print(invocation: Invocation, revision: str | None) -> None:
    if invocation.json:
        emit({"revision": revision})
    elif invocation.quiet:
        say(revision or "")
    else:
        say(f"The database is at revision {revision}" if revision else "The database has no revision yet")
