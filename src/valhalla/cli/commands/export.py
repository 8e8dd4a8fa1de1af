"""``valhalla export``: data in files, made by a job and fetched from here."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

_CONDITION = re.compile(r"([A-Za-z0-9_.-]+)(\^=|!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_OPS = {"=": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "^=": "prefix"}
_OPEN = ("pending", "running")
_EVERY = 0.5


class _Exports(click.Group):
    """What is no command of the group is the source of a new export."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        if args[0] not in self.commands:
            return "new", self.commands["new"], args
        return super().resolve_command(ctx, args)


@click.group("export", cls=_Exports)
@shared_options
def command() -> None:
    """Write data to files: 'valhalla export SOURCE', which is 'valhalla export new SOURCE'.

    \b
    Example:
      valhalla export logs --since 7d --format parquet -o out/
      valhalla export list
    """


@command.command("new")
@click.argument("source")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet", "sql"]), help="CSV if none is named.")
@click.option("--compression", type=click.Choice(["none", "gzip", "zstd"]), help="None, and zstd inside Parquet.")
@click.option("--since", help="Only what is newer: 7d, 2h, or an instant.")
@click.option("--until", help="Only what is older.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Also != < <= > >= and ^= (begins with).")
@click.option("--column", "columns", multiple=True, help="Only these columns, in this order.")
@click.option(
    "--profile",
    type=click.Choice(["standard", "strict", "none"]),
    default="standard",
    show_default=True,
    help="What is masked: secrets, also persons, or nothing (admins only).",
)
@click.option("--reason", help="Why; it is in the ledger.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Wait, and fetch the files here."
)
@click.option("--wait", is_flag=True, help="Wait until it is made, without fetching it.")
@shared_options
@pass_invocation
def new(
    invocation: Invocation,
    source: str,
    form: str | None,
    compression: str | None,
    since: str | None,
    until: str | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    profile: str,
    reason: str | None,
    output: Path | None,
    wait: bool,
) -> int:
    """Have a job write SOURCE to files; 'GET /system/exports/sources' lists what there is.

    \b
    Example:
      valhalla export logs --since 7d --where level>=30 --format parquet -o out/
    """
    body: dict[str, Any] = {"source": source, "profile": profile, "where": [_condition(one) for one in where]}
    given = {"format": form, "compression": compression, "reason": reason, "columns": list(columns) or None}
    given |= {"since": _instant(since), "until": _instant(until)}
    body |= {name: value for name, value in given.items() if value is not None}
    with invocation.client() as client:
        from valhalla.sdk.exports import ask

        made: dict[str, Any] = client.document(ask(body))
        if output is not None or wait:
            made = _follow(invocation, client, made)
        if output is not None and made["status"] == "completed":
            _download(invocation, client, made, output)
    return _tell(invocation, made)


@command.command("list")
@click.option("--status", type=click.Choice(["pending", "running", "completed", "failed", "cancelled"]))
@click.option("--source", help="Only of this source.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def list_(invocation: Invocation, status: str | None, source: str | None, limit: int) -> None:
    """List exports, the newest first.

    \b
    Example:
      valhalla export list --status running
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.exports import page

        found = collect(
            client, lambda size, cursor: page(status=status, source=source, limit=size, cursor=cursor), limit
        )
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for one in found["items"]:
            say(one["id"])
    else:
        rows = [
            (
                *(printable(one[name]) for name in ("id", "source", "format", "status")),
                str(one["rows"]),
                _size(one["bytes"]),
                relative(instant_of(one["created_at"])),
            )
            for one in found["items"]
        ]
        table(invocation, ["id", "source", "format", "status", "rows", "size", "asked"], rows)


@command.command("status")
@click.argument("ref", metavar="ID")
@click.option("--follow", is_flag=True, help="Until it is finished.")
@shared_options
@pass_invocation
def status(invocation: Invocation, ref: str, follow: bool) -> int:
    """Show one export: rows, bytes, and how long it may still take.

    \b
    Example:
      valhalla export status k3v9x0q2m1n8b7c6 --follow
    """
    with invocation.client() as client:
        from valhalla.sdk.exports import show

        found: dict[str, Any] = client.document(show(ref))
        if follow:
            found = _follow(invocation, client, found)
    return _tell(invocation, found)


@command.command("cancel")
@click.argument("ref", metavar="ID")
@shared_options
@pass_invocation
def cancel(invocation: Invocation, ref: str) -> int:
    """End an export that is not finished; what it wrote is removed.

    \b
    Example:
      valhalla export cancel k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        from valhalla.sdk import exports

        found: dict[str, Any] = client.document(exports.cancel(ref))
    _tell(invocation, found)
    return 0


@command.command("download")
@click.argument("ref", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where to.")
@shared_options
@pass_invocation
def download(invocation: Invocation, ref: str, output: Path) -> int:
    """Fetch the files of an export; half of one is gone on with, and each is checked.

    \b
    Example:
      valhalla export download k3v9x0q2m1n8b7c6 -o out/
    """
    with invocation.client() as client:
        from valhalla.sdk.exports import show

        found: dict[str, Any] = client.document(show(ref))
        _download(invocation, client, found, output)
    return _tell(invocation, found)


def _follow(invocation: Invocation, client: Any, export: dict[str, Any]) -> dict[str, Any]:
    from valhalla.sdk.exports import show

    live = sys.stderr.isatty() and not invocation.quiet and not invocation.json
    while export["status"] in _OPEN:
        if live:
            eta = "" if export.get("eta") is None else f", about {round(export['eta'])} s to go"
            line = f"{export['status']}: {export['rows']} rows, {_size(export['bytes'])}{eta}"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        time.sleep(_EVERY)
        export = client.document(show(export["id"]))
    if live:
        sys.stderr.write("\r\x1b[K")
    return export


def _download(invocation: Invocation, client: Any, export: dict[str, Any], output: Path) -> None:
    from valhalla.cli import downloading
    from valhalla.sdk.exports import links

    found = client.document(links(export["id"], {"seconds": 3600}))
    live = sys.stderr.isatty() and not invocation.quiet and not invocation.json
    total = 0

    def told(count: int) -> None:
        nonlocal total
        total += count
        if live:
            sys.stderr.write(f"\r\x1b[Kfetched {_size(total)}")

    paths = downloading.download(client, export, found, output, told)
    if live:
        sys.stderr.write("\r\x1b[K")
    for path in paths:
        remark(invocation, f"wrote {path}")


def _tell(invocation: Invocation, export: dict[str, Any]) -> int:
    if invocation.json:
        emit(export)
    elif invocation.quiet:
        say(export["id"])
    else:
        say(printable(export["id"]))
        error: dict[str, Any] = export.get("error") or {}
        eta = export.get("eta")
        fields(
            invocation,
            [
                *((name, export.get(name)) for name in ("source", "format", "compression", "profile", "status")),
                ("rows", export["rows"]),
                ("size", _size(export["bytes"])),
                ("to go", None if eta is None else f"about {round(eta)} s"),
                ("files", " ".join(file["name"] for file in export["files"])),
                ("error", error.get("detail")),
                ("expires", export.get("expires_at")),
            ],
        )
    return 1 if export["status"] in ("failed", "cancelled") else 0


def _condition(text: str) -> dict[str, Any]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no condition: write COLUMN=VALUE.", param_hint="'--where'")
    return {"column": match[1], "op": _OPS[match[2]], "value": match[3]}


def _instant(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.now(UTC) - arguments.duration(text)
    return (instant if instant.tzinfo is not None else instant.astimezone()).isoformat()


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")
