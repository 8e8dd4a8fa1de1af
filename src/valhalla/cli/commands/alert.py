"""``valhalla alert``: what is worth a person's attention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import click

from valhalla.cli import arguments
from valhalla.cli.documents import mapping
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

_NOTE = click.option("-m", "--note", help="Why; it is kept with the alert and in the ledger.")


@click.group("alert")
@shared_options
def command() -> None:
    """Look at alerts, acknowledge, resolve and silence them.

    \b
    Example:
      valhalla alert ls --severity critical
      valhalla alert ack k3v9x0q2m1n8b7c6 --note "on it"
    """


@command.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="The resolved ones, too.")
@click.option("-s", "--status", type=click.Choice(["open", "acknowledged", "resolved"]), help="Only those.")
@click.option("--severity", type=click.Choice(["info", "warning", "error", "critical"]), help="Only these.")
@click.option("--source", help="Only from there: job, heartbeat, api, alertmanager, ...")
@click.option("--text", help="Only with this in the title or name.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(invocation: Invocation, *, everything: bool, status: str | None, limit: int, **filters: Any) -> None:
    """List the alerts that are not over, those that were opened last first.

    \b
    Example:
      valhalla alert ls --status open
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.alerts import list_alerts

        unresolved = not everything and status is None
        found = collect(
            client,
            lambda size, cursor: list_alerts(
                unresolved=unresolved, status=status, limit=size, cursor=cursor, **filters
            ),
            limit,
        )
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for alert in found["items"]:
            say(alert["id"])
    elif not found["items"]:
        remark(invocation, "No alerts.")
    else:
        table(invocation, ["id", "severity", "status", "count", "last", "title"], [_row(one) for one in found["items"]])
        if found["next"]:
            remark(invocation, f"There are more than these {len(found['items'])}: see --limit.")


def _row(alert: Mapping[str, Any]) -> tuple[str, ...]:
    status = alert["status"] + (" (silenced)" if alert.get("silenced_by") else "")
    last = relative(instant_of(alert.get("last_at")))
    return (alert["id"], alert["severity"], status, str(alert.get("count", "")), last, alert.get("title") or "")


@command.command("show")
@click.argument("ref", metavar="ID")
@shared_options
@pass_invocation
def show(invocation: Invocation, ref: str) -> None:
    """Show one alert with what happened last, by its id or fingerprint.

    \b
    Example:
      valhalla alert show k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        from valhalla.sdk.alerts import get_alert

        alert = client.document(get_alert(ref))
    if invocation.json:
        emit(alert)
        return
    say(printable(alert.get("title") or alert["name"]))
    names = (
        *("id", "name", "severity", "status", "source", "count", "episodes", "escalations", "first_at", "last_at"),
        *("acknowledged_by", "resolved_by", "note", "fingerprint"),
    )
    labels = " ".join(f"{key}={value}" for key, value in mapping(alert, "labels").items())
    silences = ", ".join(alert.get("silenced_by") or ())
    context = json.dumps(alert["context"], ensure_ascii=False) if alert.get("context") else None
    told = [(name.replace("_", " "), alert.get(name)) for name in names]
    fields(invocation, [*told, ("labels", labels), ("silenced by", silences), ("context", context)])


@command.command("ack")
@click.argument("refs", metavar="ID...", nargs=-1, required=True)
@_NOTE
@shared_options
@pass_invocation
def ack(invocation: Invocation, refs: tuple[str, ...], note: str | None) -> None:
    """Acknowledge alerts: they escalate no more, and what comes is only counted.

    \b
    Example:
      valhalla alert ack k3v9x0q2m1n8b7c6 --note "on it"
    """
    _move(invocation, "acknowledge", refs, note)


@command.command("resolve")
@click.argument("refs", metavar="ID...", nargs=-1, required=True)
@_NOTE
@shared_options
@pass_invocation
def resolve(invocation: Invocation, refs: tuple[str, ...], note: str | None) -> None:
    """Resolve alerts; what happens again is opened again.

    \b
    Example:
      valhalla alert resolve k3v9x0q2m1n8b7c6
    """
    _move(invocation, "resolve", refs, note)


def _move(
    invocation: Invocation, verb: Literal["acknowledge", "resolve"], refs: tuple[str, ...], note: str | None
) -> None:
    with invocation.client() as client:
        from valhalla.sdk.alerts import move_alert

        moved = [client.document(move_alert(ref, verb, note)) for ref in refs]
    if invocation.json:
        emit({"items": moved})
        return
    for alert in moved:
        title = printable(alert.get("title") or alert["name"])
        say(alert["id"] if invocation.quiet else f"{alert['status']}: {title}")


@command.command("silence")
@click.argument("ref", metavar="ID")
@click.option("--for", "duration", type=arguments.duration, required=True, help="How long: 2h, 1d.")
@click.option("-r", "--reason", required=True, help="Why; others will wonder.")
@shared_options
@pass_invocation
def silence(invocation: Invocation, ref: str, duration: timedelta, reason: str) -> None:
    """Tell nobody of an alert for a while; it is still counted and listed.

    \b
    Example:
      valhalla alert silence k3v9x0q2m1n8b7c6 --for 2h --reason "moving the database"
    """
    with invocation.client() as client:
        from valhalla.sdk.alerts import silence_alert

        made = client.document(silence_alert(ref, datetime.now(UTC) + duration, reason))
    if invocation.json:
        emit(made)
    elif invocation.quiet:
        say(made["id"])
    else:
        say(f"silenced until {made['ends_at']}: {printable(made['id'])}")
