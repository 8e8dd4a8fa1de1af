"""``valhalla status``."""

from __future__ import annotations

import click

from valhalla.cli.failures import REFUSED
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, say
from valhalla.cli.text import printable


@click.command("status")
@shared_options
@pass_invocation
def command(invocation: Invocation) -> int:
    """Say whether the control plane works: exit code 0 ready, 1 not ready, 3 not running.

    \b
    Example:
      valhalla status -q && pytest
    """
    with invocation.client() as client:
        ready = client.ready()
        url = client.endpoint.url
    failed = {name: check.reason for name, check in ready.checks.items() if not check.ok}
    if invocation.json:
        emit({"url": url, "status": ready.status, "failed": failed})
    elif not invocation.quiet:
        say(f"{paint(invocation, ready.status)} at {url}")
        for name, reason in failed.items():
            say(f"  {printable(name)}: {printable(reason or 'failed')}")
        if failed:
            say(f"  next: {invocation.again('doctor')}")
    return 0 if ready.is_ready else REFUSED
