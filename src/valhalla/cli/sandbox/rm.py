"""``valhalla sandbox rm``."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click

from valhalla.cli.failures import REFUSED, report
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, working
from valhalla.cli.text import printable
from valhalla.sdk.client import Client
from valhalla.sdk.errors import ApiProblem

# one request waits so long; then it is asked again, up to the whole
_STEP: Final = 10.0
_WHOLE: Final = 120.0


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Return as soon as access is cut; the rest is dropped behind you.")
@shared_options
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], yes: bool, no_wait: bool) -> int:
    """Destroy sandboxes: access is cut at once, then everything in them is dropped.

    \b
    Example:
      valhalla sandbox rm try-it
      valhalla sandbox rm -y first second
    """
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on: add -y to destroy without being asked.")
    destroyed: list[dict[str, Any]] = []
    code = 0
    with invocation.client() as client:
        for name in dict.fromkeys(names):
            try:
                document = _destroy(invocation, client, name, ask=not yes, wait=not no_wait)
            except ApiProblem as problem:
                # the other names were meant as well
                code = report(problem, as_json=invocation.json)
                continue
            if document is None:
                code = REFUSED
            else:
                destroyed.append(document)
    if invocation.json:
        emit({"items": destroyed})
    return code


def _destroy(invocation: Invocation, client: Client, name: str, *, ask: bool, wait: bool) -> dict[str, Any] | None:
    from valhalla.cli import creds
    from valhalla.sdk import calls
    from valhalla.sdk.discovery import data_directory

    document: dict[str, Any] = client.document(calls.get(name))
    shown = printable(document["name"])
    if document["status"] == "destroyed":
        _tell(invocation, f"{shown} is already destroyed", shown)
        return document
    if ask and not _confirmed(document):
        sys.stderr.write(f"{shown} was left as it is\n")
        return None
    with working(invocation, f"Destroying {shown}"):
        document = _end(client, str(document["id"]), wait=wait)
    creds.remove(data_directory(invocation.data_dir), str(document["id"]))
    ended = document["status"] == "destroyed"
    _tell(invocation, f"{shown} is destroyed" if ended else f"{shown} is cut off and being destroyed", shown)
    return document


def _end(client: Client, sandbox_id: str, *, wait: bool) -> dict[str, Any]:
    from valhalla.sdk import calls

    # by id: the name may be given to another sandbox the moment this one is gone
    document: dict[str, Any] = client.document(calls.destroy(sandbox_id, wait=_STEP if wait else None))
    until = time.monotonic() + _WHOLE
    while wait and document["status"] != "destroyed" and time.monotonic() < until:
        time.sleep(0.1)
        document = client.document(calls.get(sandbox_id))
    return document


def _confirmed(document: dict[str, Any]) -> bool:
    what = f"{printable(document['name'])} ({document['status']}, of {printable(document['owner'])})"
    # on stderr: stdout may be read by a program
    sys.stderr.write(f"Destroy {what} and everything in it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _tell(invocation: Invocation, text: str, name: str) -> None:
    if not invocation.json:
        say(name if invocation.quiet else text)
