"""``valhalla ledger``: the record of who did what."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.documents import mapping
from valhalla.cli.entries import print_entries
from valhalla.cli.failures import REFUSED
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, say, working
from valhalla.cli.text import printable


@click.group("ledger")
@shared_options
def command() -> None:
    """Read the ledger and verify that nobody changed it.

    \b
    Example:
      valhalla ledger verify
    """


@command.command("ls")
@click.option("--kind", help="Only entries about this kind of thing, like sandbox.")
@click.option("--subject", help="Only entries about this id.")
@click.option("--actor", help="Only what this one did.")
@click.option("--action", help="Only this action.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(invocation: Invocation, limit: int, **filters: str | None) -> None:
    """List entries.

    \b
    Example:
      valhalla ledger ls --actor system --limit 20
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import calls

        found = collect(client, lambda size, cursor: calls.audit(limit=size, cursor=cursor, **filters), limit)
    print_entries(invocation, found, subjects=True)


@command.command("verify")
@shared_options
@pass_invocation
def verify(invocation: Invocation) -> int:
    """Recompute the whole chain: exit code 1 names the first entry that is not what was written.

    \b
    Example:
      valhalla ledger verify
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        with working(invocation, "Verifying the ledger"):
            report: dict[str, Any] = client.document(calls.verify_ledger())
    if invocation.json:
        emit(report)
    else:
        say(_verdict(invocation, report))
    return 0 if report["ok"] else REFUSED


def _verdict(invocation: Invocation, report: dict[str, Any]) -> str:
    if report["ok"]:
        counted = f"{report['entries']} entries, {report['sealed']} sealed, {report['checkpoints']} checkpoints"
        return f"{paint(invocation, 'intact', 'ok')}: {counted}"
    fault = mapping(report, "fault")
    where = f" at {fault['seq']}" if fault.get("seq") is not None else ""
    entry = f" (entry {printable(fault['entry'])})" if fault.get("entry") is not None else ""
    kind = paint(invocation, printable(fault.get("kind", "broken")), "failed")
    return f"{kind}{where}{entry}: {printable(fault.get('detail') or 'the chain does not hold')}"
