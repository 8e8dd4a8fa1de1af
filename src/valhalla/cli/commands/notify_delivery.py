"""``valhalla notify delivery``: what became of messages."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

_STATUSES = ["pending", "delivering", "delivered", "failed", "dead"]


@click.group("delivery")
@shared_options
def command() -> None:
    """See what became of messages, and replay those that nobody took.

    \b
    Example:
      valhalla notify delivery ls --status dead
      valhalla notify delivery replay --channel ops --dry-run
    """


@command.command("ls")
@click.option("--channel", help="Only of this channel.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only these.")
@click.option("--rule", help="Only what this rule made.")
@click.option("--type", "kind", help="Only of this type of event.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(
    invocation: Invocation, channel: str | None, status: str | None, rule: str | None, kind: str | None, limit: int
) -> None:
    """List deliveries, the newest first.

    \b
    Example:
      valhalla notify delivery ls --channel ops --status failed
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import notify

        found = collect(
            client,
            lambda size, cursor: notify.page(
                limit=size, cursor=cursor, channel=channel, status=status, rule=rule, type_=kind
            ),
            limit,
        )
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for each in found["items"]:
            say(printable(each["id"]))
    else:
        rows = [
            (
                each["id"],
                each["status"],
                each["channel"],
                str(each["attempts"]),
                relative(instant_of(each["created_at"])),
                each["title"][:60],
                each["error"] or "",
            )
            for each in found["items"]
        ]
        table(invocation, ["id", "status", "channel", "attempts", "made", "title", "error"], rows)


@command.command("show")
@click.argument("delivery")
@shared_options
@pass_invocation
def show(invocation: Invocation, delivery: str) -> None:
    """Show a delivery with what it tells and every attempt.

    \b
    Example:
      valhalla notify delivery show k3v9x0q2m1n8b7c6
    """
    found = invocation.ask(lambda client: client.notifications.delivery(delivery))
    if invocation.json:
        emit(found)
        return
    say(f"{printable(found['id'])}  {printable(found['status'])}  {printable(found['channel'])}")
    say(printable(found["title"]) + (f" and {found['count'] - 1} more" if found["count"] > 1 else ""))
    rows = [
        (
            str(each["number"]),
            each["at"],
            each["outcome"],
            "" if each["status"] is None else str(each["status"]),
            f"{each['seconds']:.3f}",
            each["error"] or "",
            (each["excerpt"] or "")[:60],
        )
        for each in found["tries"]
    ]
    if rows:
        table(invocation, ["#", "at", "outcome", "status", "seconds", "error", "answer"], rows)


@command.command("replay")
@click.argument("deliveries", nargs=-1)
@click.option("--channel", help="Every dead one of this channel.")
@click.option("--rule", help="Every dead one that this rule made.")
@click.option("--type", "kind", help="Every dead one of this type of event.")
@click.option("--all", "everything", is_flag=True, help="Every dead one there is.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would begin again, and change nothing.")
@shared_options
@pass_invocation
def replay(
    invocation: Invocation,
    deliveries: tuple[str, ...],
    channel: str | None,
    rule: str | None,
    kind: str | None,
    everything: bool,
    dry_run: bool,
) -> None:
    """Let dead deliveries begin again, under their ids: those named, those that fit, or all.

    \b
    Example:
      valhalla notify delivery replay --channel ops
      valhalla notify delivery replay k3v9x0q2m1n8b7c6
    """
    wanted = {"channel": channel, "rule": rule, "type": kind, "ids": list(deliveries) or None}
    body = {name: value for name, value in wanted.items() if value is not None}
    if bool(body) == everything:
        raise click.UsageError("name deliveries, narrow them by an option, or say --all")
    found = invocation.ask(lambda client: client.notifications.replay_many(body, dry_run=dry_run))
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for each in found["ids"]:
            say(printable(each))
    elif dry_run:
        say(f"{found['matched']} would begin again")
    else:
        say(f"{found['replayed']} of {found['matched']} begin again")
        if found["replayed"] < found["matched"]:
            remark(invocation, "1,000 at once: repeat it for the rest.")
