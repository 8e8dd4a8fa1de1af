"""``valhalla deployment``: what went where, and what became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import click

from valhalla.cli import arguments
from valhalla.cli.documents import mapping
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, say, table
from valhalla.cli.text import instant_of, printable, relative

_NOTES = click.option("-m", "--notes", help="What others should know.")


@click.group("deployment")
@shared_options
def command() -> None:
    """Record deployments, finish them, and see what they amount to.

    \b
    Example:
      ID=$(valhalla deployment start production checkout 2.4.1 -q)
      valhalla smoke run checkout --deployment $ID
      valhalla deployment finish $ID succeeded
    """


@command.command("start")
@click.argument("environment")
@click.argument("service")
@click.argument("version")
@click.option("--commit", help="The commit's hash.")
@click.option("--committed-at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="When it was made: for lead times.")
@click.option("--rollback-of", metavar="ID", help="The deployment that this one undoes.")
@_NOTES
@click.option("--pending", is_flag=True, help="Only record it; it begins later.")
@shared_options
@pass_invocation
def start(
    invocation: Invocation,
    environment: str,
    service: str,
    version: str,
    commit: str | None,
    committed_at: datetime | None,
    rollback_of: str | None,
    notes: str | None,
    pending: bool,
) -> None:
    """Record a deployment that begins now.

    \b
    Example:
      valhalla deployment start production checkout 2.4.1 --commit 9f1c2ab
    """
    with invocation.client() as client:
        from valhalla.sdk.deployments import record_deployment

        request = record_deployment(
            environment,
            service,
            version,
            commit=commit,
            committed_at=committed_at,
            rollback_of=rollback_of,
            notes=notes,
            start=not pending,
        )
        _tell(invocation, client.document(request))


@command.command("finish")
@click.argument("ref", metavar="ID")
@click.argument("to", metavar="STATUS", type=click.Choice(["in_progress", "succeeded", "failed", "rolled_back"]))
@_NOTES
@click.option("--force", is_flag=True, help="Let it succeed although its last smoke test failed.")
@shared_options
@pass_invocation
def finish(
    invocation: Invocation,
    ref: str,
    to: Literal["in_progress", "succeeded", "failed", "rolled_back"],
    notes: str | None,
    force: bool,
) -> None:
    """Take a deployment's next step: in_progress, succeeded, failed or rolled_back.

    \b
    Example:
      valhalla deployment finish k3v9x0q2m1n8b7c6 succeeded
    """
    with invocation.client() as client:
        from valhalla.sdk.deployments import move_deployment

        _tell(invocation, client.document(move_deployment(ref, to, notes=notes, force=force)))


@command.command("ls")
@click.option("-e", "--environment", help="Only there.")
@click.option("-s", "--service", help="Only of this service.")
@click.option("--status", type=click.Choice(["pending", "in_progress", "succeeded", "failed", "rolled_back"]))
@click.option("--current", is_flag=True, help="What runs where, instead of what happened.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(
    invocation: Invocation,
    environment: str | None,
    service: str | None,
    status: str | None,
    current: bool,
    limit: int,
) -> None:
    """List deployments, the newest first.

    \b
    Example:
      valhalla deployment ls --environment production --current
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.deployments import current_deployments, list_deployments

        if current:
            found: dict[str, Any] = client.document(current_deployments(environment))
        else:
            wanted = {"environment": environment, "service": service, "status": status}
            found = collect(client, lambda size, cursor: list_deployments(limit=size, cursor=cursor, **wanted), limit)
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for one in found["items"]:
            say(one["id"])
    else:
        names = ("id", "environment", "service", "version", "status", "verdict")
        rows = [
            (*(one.get(name) or "" for name in names), relative(instant_of(one.get("created_at"))))
            for one in found["items"]
        ]
        table(invocation, [*names, "when"], rows)


@command.command("show")
@click.argument("ref", metavar="ID")
@shared_options
@pass_invocation
def show(invocation: Invocation, ref: str) -> None:
    """Show one deployment.

    \b
    Example:
      valhalla deployment show k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        from valhalla.sdk.deployments import get_deployment

        found = client.document(get_deployment(ref))
    if invocation.json:
        emit(found)
        return
    say(printable(found["id"]))
    shown = [(name, value) for name, value in found.items() if name not in ("id", "revisions")]
    fields(invocation, [*shown, ("revisions", json.dumps(found["revisions"]) if found.get("revisions") else None)])


@command.command("dora")
@click.option("--last", type=arguments.duration, default="30d", show_default=True, help="Of so long until now.")
@click.option("-e", "--environment", help="Only there.")
@click.option("-s", "--service", help="Only of this service.")
@shared_options
@pass_invocation
def dora(invocation: Invocation, last: timedelta, environment: str | None, service: str | None) -> None:
    """Show the four DORA figures of a time.

    \b
    Example:
      valhalla deployment dora --last 7d --environment production
    """
    with invocation.client() as client:
        from valhalla.sdk.deployments import dora_figures

        since = datetime.now(UTC) - last
        found = client.document(dora_figures(since=since, environment=environment, service=service))
    if invocation.json:
        emit(found)
        return
    rate = found.get("failure_rate")
    restore = mapping(found, "time_to_restore")
    members = [
        ("deployments", f"{found['deployments']} ({found['per_day']:.2f} a day)"),
        ("lead time", _durations(mapping(found, "lead_time"))),
        ("change failure rate", "no deployments" if rate is None else f"{rate:.1%} ({found['failures']} failed)"),
        ("time to restore", f"{_durations(restore)}; {found['unrestored']} not restored yet"),
    ]
    fields(invocation, members)


def _durations(spread: dict[str, Any]) -> str:
    if not spread.get("count"):
        return "unknown"
    median, most = (str(timedelta(seconds=round(spread[name]))) for name in ("median", "p90"))
    return f"{median} (median), {most} (9 of 10)"


def _tell(invocation: Invocation, found: dict[str, Any]) -> None:
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        say(found["id"])
    else:
        what = f"{found['service']} {found['version']} in {found['environment']}"
        say(printable(f"{found['id']}: {what} is {found['status']}"))
