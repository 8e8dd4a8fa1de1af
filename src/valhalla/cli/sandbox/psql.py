"""``valhalla sandbox psql``."""

from __future__ import annotations

import os
import shutil
import sys
from urllib.parse import parse_qsl, urlsplit

import click

from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.kernel.problems import Problem
from valhalla.sdk.access import PostgresAccess


@click.command("psql", context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PSQL-OPTIONS...]")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, arguments: tuple[str, ...]) -> None:
    """Open a sandbox's database in psql, as the sandbox's own user.

    \b
    Example:
      valhalla sandbox psql try-it
      valhalla sandbox psql try-it -- -c 'select * from communities'
    """
    program = find_psql()
    with invocation.client() as client:
        from valhalla.cli.sandbox.entry import enter

        access = enter(client, name).connection.postgres
    if access is None:
        raise Refusal("no-such-slice", f"the sandbox '{name}' has no Postgres slice")
    rest = arguments[1:] if arguments[:1] == ("--",) else arguments
    sys.stdout.flush()
    os.execve(program, [program, *rest], environment(access))  # noqa: S606 - becoming psql is the point


def find_psql() -> str:
    """Return psql of the PATH, or the one that came with the embedded Postgres.

    Raises:
        Refusal: there is none.
    """
    if found := shutil.which("psql"):
        return found
    from valhalla.embedded import binaries

    try:
        return str(binaries.postgres_program("psql"))
    except Problem as problem:
        hint = "Install a Postgres client, or valhalla[embedded]."
        raise Refusal("no-psql", "there is no psql on this machine", hint) from problem


def environment(access: PostgresAccess) -> dict[str, str]:
    """Return our environment with libpq's variables set: arguments would show the password to everybody."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PG") or name == "PGTZ"}
    options = dict(parse_qsl(urlsplit(access.url).query))
    extra = {"PGSSLMODE": options["sslmode"]} if "sslmode" in options else {}
    return {
        **mine,
        **extra,
        "PGHOST": access.host,
        "PGPORT": str(access.port),
        "PGDATABASE": access.database,
        "PGUSER": access.user,
        "PGPASSWORD": access.password,
    }
