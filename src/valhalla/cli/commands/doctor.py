"""``valhalla doctor``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.failures import REFUSED
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, say, table
from valhalla.cli.text import printable
from valhalla.sdk.errors import Unreachable

Checks = dict[str, dict[str, Any]]


@click.command("doctor")
@shared_options
@pass_invocation
def command(invocation: Invocation) -> int:
    """Check every part and say what to do about what fails: exit code 0 all well, 1 not.

    \b
    Example:
      valhalla doctor
    """
    checks, findings = _control_plane(invocation)
    if not checks["control plane"]["ok"]:
        from valhalla.cli import machine
        from valhalla.sdk.discovery import data_directory

        checks |= machine.checks(data_directory(invocation.data_dir))
    healthy = all(check["ok"] for check in checks.values())
    if invocation.json:
        emit({"ok": healthy, "checks": checks, "findings": findings})
    elif not invocation.quiet:
        _print(invocation, checks)
        for finding in findings:
            say(f"\nnote: {printable(finding)}")
        say("" if not healthy else f"\n{paint(invocation, 'All is well', 'ok')}")
    return 0 if healthy else REFUSED


def _control_plane(invocation: Invocation) -> tuple[Checks, list[str]]:
    """Return the checks, and what the backends do not enforce: a reason to look, not to stop."""
    from valhalla.sdk import calls

    try:
        with invocation.client(timeout=10) as client:
            ready: dict[str, Any] = client.document(calls.ready())
            url = client.endpoint.url
    except Unreachable as error:
        return {"control plane": {"ok": False, "reason": str(error), "help": error.help}}, []
    well = ready.get("status") == "ready"
    own: dict[str, Any] = {"ok": well, "reason": url if well else f"{url} is {ready.get('status')}"}
    return {"control plane": own, **ready.get("checks", {})}, ready.get("findings", [])


def _print(invocation: Invocation, checks: Checks) -> None:
    from valhalla.cli.sandbox.status import check_row

    table(invocation, ["check", "state", "latency", "reason"], [check_row(*item) for item in checks.items()])
    for name, check in checks.items():
        if not check["ok"] and check.get("help"):
            say(f"\n{printable(name)}: {printable(check['help'])}")
