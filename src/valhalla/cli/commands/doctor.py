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
    """Say GO or NO-GO from evidence, and what to do about what fails: exit code 0 all well, 1 not.

    Every part is asked now: it writes and reads back, runs a job, sends an event. AGE tells how old the evidence is.
    Without a control plane this machine is checked instead.

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
        emit({"ok": healthy, "verdict": "GO" if healthy else "NO-GO", "checks": checks, "findings": findings})
    elif not invocation.quiet:
        _print(invocation, checks)
        for finding in findings:
            say(f"\nnote: {printable(finding)}")
        failed = ", ".join(printable(name) for name, check in checks.items() if not check["ok"])
        verdict = ("GO: all is well", "ok") if healthy else (f"NO-GO: {failed}", "failed")
        say(f"\n{paint(invocation, *verdict)}")
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
    table(invocation, ["check", "state", "latency", "age", "reason"], [_row(*item) for item in checks.items()])
    for name, check in checks.items():
        if not check["ok"] and check.get("help"):
            say(f"\n{printable(name)}: {printable(check['help'])}")


def _row(name: str, check: dict[str, Any]) -> tuple[str, ...]:
    from valhalla.cli.sandbox.status import check_row

    part, state, latency, reason = check_row(name, check)
    if state == "failed" and check.get("critical") is False:
        # it fails, and the control plane takes requests all the same
        reason = f"(not critical) {reason}"
    age = check.get("age_seconds")
    return part, state, latency, f"{age:.1f} s" if isinstance(age, (int, float)) else "", reason
