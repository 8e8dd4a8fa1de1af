"""``valhalla db``: the control plane's own database."""

from __future__ import annotations

import importlib
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory


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
    _print(invocation, _call("upgrade", invocation, said), done="The database is up to date")


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
    _print(invocation, _call("current", invocation, said), done="The database has no revision")


def _call(name: str, invocation: Invocation, said: dict[str, Any]) -> Any:
    options = Serving.of(**said).options(data_directory(invocation.data_dir))
    return getattr(importlib.import_module("valhalla.server.database"), name)(options)


def _print(invocation: Invocation, revision: Any, *, done: str) -> None:
    if invocation.json:
        emit({"revision": revision})
    elif invocation.quiet:
        say(str(revision or ""))
    else:
        say(f"{done}: {revision}" if revision else done)
