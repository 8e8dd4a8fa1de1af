"""``valhalla sandbox run``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from valhalla.cli import arguments
from valhalla.cli.child import Child
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import remark

if TYPE_CHECKING:
    from valhalla.sdk.access import Connection


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--new", "fresh", is_flag=True, help="Make a sandbox for this command and destroy it afterwards.")
@click.option("--sealed", is_flag=True, help="Let it reach this sandbox and nothing else; report what it tried.")
@click.option("-t", "--ttl", type=arguments.ttl, help="With --new: its time to live, should this command be killed.")
@click.option("--template", help="With --new: what its database starts with.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME] -- COMMAND...")
@shared_options
@pass_invocation
def command(
    invocation: Invocation, fresh: bool, sealed: bool, ttl: str | None, template: str | None, words: tuple[str, ...]
) -> int:
    """Run one program with a sandbox's environment, and return its exit code.

    Signals reach the program; 127 means that it was not found, 128+N that signal N ended it. With --sealed the
    report of what it tried goes to stderr (as JSON with --json), because stdout is the program's.

    \b
    Example:
      valhalla sandbox run try-it -- pytest -x
      valhalla sandbox run --new --ttl 30m -- alembic upgrade head
      valhalla sandbox run --sealed try-it -- python send_invoices.py
    """
    from valhalla.kit import correlation

    # what the control plane, the sandbox's audit and the program itself write about this run has one id
    with correlation.correlated(correlation.adopted(os.environ.get(correlation.VARIABLE))):
        return _command(invocation, fresh, sealed, ttl, template, words)


def _command(
    invocation: Invocation, fresh: bool, sealed: bool, ttl: str | None, template: str | None, words: tuple[str, ...]
) -> int:
    if fresh:
        # click has taken the '--' away when it came before every word
        return _in_new(invocation, sealed, ttl, template, list(words[1:] if words[:1] == ("--",) else words))
    if ttl or template:
        raise click.UsageError("--ttl and --template need --new: an existing sandbox has its own.")
    if not words:
        raise click.UsageError("Which sandbox? Write: run NAME -- COMMAND")
    name, program = words[0], list(words[1:])
    return _in_existing(invocation, sealed, name, program[1:] if program[:1] == ["--"] else program)


def _in_existing(invocation: Invocation, sealed: bool, name: str, program: list[str]) -> int:
    _need(program)
    with Child() as child:
        with invocation.client() as client:
            from valhalla.cli.sandbox.entry import enter

            entry = enter(client, name)
        return _run(invocation, child, program, entry.connection, sealed)


def _in_new(invocation: Invocation, sealed: bool, ttl: str | None, template: str | None, program: list[str]) -> int:
    _need(program)
    # signals are kept from the start: Ctrl-C while the sandbox is made must not leave it behind
    with Child() as child, invocation.client(timeout=60) as client:
        from valhalla.sdk.errors import ValhallaError

        sandbox = client.create(ttl=ttl, template=template, description="for one command", tags=["run"])
        try:
            connection = sandbox.connection or client.connection(sandbox.id)
            return _run(invocation, child, program, connection, sealed)
        finally:
            try:
                client.destroy(sandbox.id)
            except ValhallaError as error:
                remark(invocation, f"Warning: {sandbox.name} was not destroyed ({error}); it ends with its TTL.")


def _run(invocation: Invocation, child: Child, program: list[str], connection: Connection, sealed: bool) -> int:
    from valhalla.cli import creds
    from valhalla.kit import outgoing

    with contextlib.ExitStack() as stack:
        extra = dict(connection.env) | outgoing.environment()
        if connection.nats is not None:
            extra["NATS_CREDS"] = str(stack.enter_context(creds.temporary(connection.nats.creds)))
        sys.stdout.flush()
        env = {**os.environ, **extra}
        if not sealed:
            return child.run(program, env)
        from valhalla.cli.sandbox import sealing

        return sealing.run(invocation, child, program, env, connection)


def _need(program: list[str]) -> None:
    if not program:
        raise click.UsageError("Run what? Write the program after '--': run NAME -- COMMAND")
    if program[0].startswith("-"):
        raise click.UsageError(f"{program[0]!r} is no program: options come before the name, the program after '--'.")
