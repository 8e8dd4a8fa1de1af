"""``valhalla sandbox env``."""

from __future__ import annotations

import os
import sys

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark
from valhalla.cli.text import printable, relative


@click.command("env")
@click.argument("name")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["sh", "fish", "dotenv", "json"]),
    default="sh",
    show_default=True,
    help="For which reader.",
)
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, form: str) -> None:
    """Print the environment of a running sandbox.

    \b
    Example:
      eval "$(valhalla sandbox env try-it)"
      valhalla sandbox env try-it --format fish | source
      valhalla sandbox env try-it --format dotenv > .env
    """
    with invocation.client() as client:
        from valhalla.cli import creds, quoting
        from valhalla.cli.sandbox.entry import enter
        from valhalla.sdk.discovery import data_directory

        entry = enter(client, name)
    writers = {"sh": quoting.exports, "fish": quoting.fish, "dotenv": quoting.dotenv}
    # every refusal comes before the first byte of output: half an environment is worse than none
    file = None
    if entry.creds is not None:
        file = creds.save(data_directory(invocation.data_dir), entry.sandbox.id, entry.creds, entry.sandbox.expires_at)
    env = entry.env(file)
    if invocation.json or form == "json":
        emit(env)
    else:
        # bytes: the terminal's encoding must not change, or refuse, a password
        text = writers[form](env)
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text))
        sys.stdout.buffer.flush()
    remark(invocation, f"# {printable(entry.sandbox.name)} expires {relative(entry.sandbox.expires_at)}")
