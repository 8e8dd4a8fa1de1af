"""``valhalla ledger``: the record of who did what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from valhalla.cli.documents import mapping
from valhalla.cli.entries import print_entries
from valhalla.cli.failures import REFUSED
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, remark, say, working
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
@click.option(
    "--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Also against this kept file."
)
@click.option("--public-key", help="The pinned key, or its file; default: the file beside the checkpoint.")
@click.option(
    "--entries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An export to recompute instead of asking the control plane.",
)
@shared_options
@pass_invocation
def verify(invocation: Invocation, checkpoint: Path | None, public_key: str | None, entries: Path | None) -> int:
    """Recompute the whole chain: exit code 1 names the first entry that is not what was written.

    \b
    Example:
      valhalla ledger verify
      valhalla ledger verify --checkpoint /mnt/usb/ledger.checkpoint
    """
    kept = None
    if checkpoint is not None:
        from valhalla.cli.witness import read

        kept = read(checkpoint, public_key)
    report: dict[str, Any]
    if entries is not None:
        if kept is None:
            raise click.UsageError("an export proves nothing without --checkpoint")
        from valhalla.cli.witness import recompute

        report = recompute(entries, kept)
    else:
        with invocation.client() as client:
            from valhalla.sdk import calls

            asked = calls.verify_ledger() if kept is None else calls.verify_ledger(size=kept.size, hash=kept.hash.hex())
            with working(invocation, "Verifying the ledger"):
                report = client.document(asked)
    if invocation.json:
        emit(report)
    else:
        say(_verdict(invocation, report))
    return 0 if report["ok"] else REFUSED


@command.command("checkpoint")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
@shared_options
@pass_invocation
def checkpoint(invocation: Invocation, output: Path) -> int:
    """Keep a signed checkpoint outside of the database; the public key is pinned beside it the first time.

    \b
    Example:
      valhalla ledger checkpoint -o /mnt/usb/ledger.checkpoint
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        found = client.send(calls.ledger_checkpoints(limit=1))
    if not found.items:
        remark(invocation, "Nothing is sealed yet: try again in a second.")
        return REFUSED
    from valhalla.cli.witness import keep

    newest = found.items[0]
    pinned = keep(output, newest.note, found.public_key)
    if invocation.json:
        emit({"file": str(output), "key_file": str(pinned), "size": newest.size, "hash": newest.hash})
    else:
        say(f"{output}: the first {newest.size} entries; its key is in {pinned}")
    return 0


@command.command("export")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
@shared_options
@pass_invocation
def export(invocation: Invocation, output: Path) -> None:
    """Write every sealed entry as a line of JSON, to verify it against a checkpoint elsewhere.

    \b
    Example:
      valhalla ledger export -o ledger.ndjson
      valhalla ledger verify --checkpoint ledger.checkpoint --entries ledger.ndjson
    """
    count, after = 0, 0
    with invocation.client() as client, output.open("w") as file:
        from valhalla.sdk import calls

        while after is not None:
            page = client.document(calls.export_ledger(after))
            file.writelines(json.dumps(entry) + "\n" for entry in page["items"])
            count, after = count + len(page["items"]), page["next"]
    if invocation.json:
        emit({"file": str(output), "entries": count})
    else:
        say(f"{output}: {count} entries")


def _verdict(invocation: Invocation, report: dict[str, Any]) -> str:
    if report["ok"]:
        counted = f"{report['entries']} entries, {report['sealed']} sealed, {report['checkpoints']} checkpoints"
        return f"{paint(invocation, 'intact', 'ok')}: {counted}"
    fault = mapping(report, "fault")
    where = f" at {fault['seq']}" if fault.get("seq") is not None else ""
    entry = f" (entry {printable(fault['entry'])})" if fault.get("entry") is not None else ""
    kind = paint(invocation, printable(fault.get("kind", "broken")), "failed")
    return f"{kind}{where}{entry}: {printable(fault.get('detail') or 'the chain does not hold')}"
