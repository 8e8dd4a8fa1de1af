"""``valhalla block``: who is not let in."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, say, table
from valhalla.cli.registry import Words, add_commands
from valhalla.cli.text import printable

TYPES: Final = ("ip", "cidr", "principal", "api_key", "user_agent", "country", "asn", "path", "cel")
# the control plane takes a megabyte at once; a line is at most a network of version 6
_LINES: Final = 10_000

_WORDS: Final = Words("block", "blocklist", "key", ("action", "severity", "source", "expires_at", "hits", "reason"))


@click.group("block")
@shared_options
def command() -> None:
    """See and say who is not let in: addresses, networks, owners, keys, user agents, countries, paths.

    \b
    Example:
      valhalla block add 203.0.113.0/24 --for 4h --reason "password guessing"
      valhalla block test 203.0.113.0/24
    """


add_commands(command, _WORDS, "ip:203.0.113.7", ("ls", "get", "rm", "history", "diff", "rollback"))
command.add_command(command.commands["ls"], "list")


def _type(value: str, kind: str | None) -> str:
    if kind is not None:
        return kind
    try:
        single = ipaddress.ip_network(value.strip(), strict=False).num_addresses == 1
    except ValueError:
        raise click.UsageError(f"{value!r} is no address or network: say what it is with --type.") from None
    return "ip" if single else "cidr"


_kind = click.option("--type", "kind", type=click.Choice(TYPES), help="What the value is; found out for addresses.")
_dry = click.option("-n", "--dry-run", is_flag=True, help="Say what would be, and change nothing.")


@command.command("add")
@click.argument("value")
@_kind
@click.option("--allow", is_flag=True, help="Never block it, whatever other rules say.")
@click.option("--for", "lasting", type=arguments.duration, help="It ends by itself after this: 4h, 30d.")
@click.option("--reason", help="Why; kept in history and ledger.")
@click.option("--severity", type=click.Choice(["info", "warning", "error", "critical"]), help="How bad it is.")
@click.option("--source", help="Who says so; 'operator' if you do.")
@click.option("--confirm", is_flag=True, help="Also if it would block nearly everybody.")
@_dry
@shared_options
@pass_invocation
def add(
    invocation: Invocation,
    value: str,
    kind: str | None,
    lasting: timedelta | None,
    reason: str | None,
    severity: str | None,
    source: str | None,
    *,
    allow: bool,
    confirm: bool,
    dry_run: bool,
) -> None:
    """Block VALUE, or allow it; in every process at once.

    \b
    Example:
      valhalla block add 203.0.113.7 --for 4h --reason "password guessing"
      valhalla block add sqlmap --type user_agent
      valhalla block add 198.51.100.0/24 --allow --reason office
    """
    with invocation.client() as client:
        from valhalla.sdk.blocklist import block

        found = client.document(
            block(
                _type(value, kind),
                value,
                action="allow" if allow else "block",
                reason=reason,
                severity=severity,
                source=source,
                expires_at=None if lasting is None else datetime.now(UTC) + lasting,
                confirm=confirm,
                dry_run=dry_run,
            )
        )
    if invocation.json:
        emit(found)
    elif dry_run:
        say(printable(found["impact"]["summary"]))
    else:
        say(printable(found["key"]) if invocation.quiet else f"{printable(found['key'])}: {found['action']}")


@command.command("remove")
@click.argument("value")
@_kind
@click.option("--allow", is_flag=True, help="The rule that allows it, not the one that blocks it.")
@click.option("--reason", help="Why; kept in history and ledger.")
@_dry
@shared_options
@pass_invocation
def remove(
    invocation: Invocation, value: str, kind: str | None, reason: str | None, *, allow: bool, dry_run: bool
) -> None:
    """End the rule about VALUE, in whatever form it is written.

    \b
    Example:
      valhalla block remove 203.0.113.7 --reason "called us"
    """
    with invocation.client() as client:
        from valhalla.sdk.blocklist import unblock

        body = {"type": _type(value, kind), "value": value, "action": "allow" if allow else "block"}
        found = client.document(unblock(body, dry_run=dry_run, reason=reason))
    if invocation.json:
        emit(found)
        return
    key = printable(found["items"][0]["key"])
    say(key if invocation.quiet else f"{key}: {'would be removed' if dry_run else 'removed'}")


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--source", default="import", show_default=True, help="The name of the list.")
@click.option("--format", "form", type=click.Choice(["auto", "plain", "csv", "crowdsec"]), default="auto")
@click.option("--allow", is_flag=True, help="Never block what is in the list.")
@click.option("--for", "lasting", type=arguments.duration, help="They end by themselves after this.")
@click.option("--reason", help="Why, for those that say nothing themselves.")
@click.option("--severity", type=click.Choice(["info", "warning", "error", "critical"]), help="How bad they are.")
@click.option("--replace", is_flag=True, help="Remove what this source had and the list has not; up to 10,000 lines.")
@click.option("--confirm", is_flag=True, help="Also private networks, and ones that are very broad.")
@_dry
@shared_options
@pass_invocation
def take(
    invocation: Invocation,
    file: Path,
    source: str,
    form: str,
    lasting: timedelta | None,
    reason: str | None,
    severity: str | None,
    *,
    allow: bool,
    replace: bool,
    confirm: bool,
    dry_run: bool,
) -> None:
    """Import a list: one value a line, CSV with a header, or what `cscli decisions list -o json` prints.

    \b
    Example:
      curl -s https://example.org/list.txt | valhalla block import - --source lists:example --for 24h
    """
    with click.open_file(str(file), encoding="utf-8-sig") as stream:
        text = stream.read()
    parts = _parts(text, form)
    if replace and len(parts) > 1:
        raise click.UsageError(f"--replace takes lists of up to {_LINES} lines.")
    total: dict[str, Any] = {}
    with invocation.client() as client:
        from valhalla.sdk.blocklist import load

        for part in parts:
            done = client.document(
                load(
                    part,
                    format_=form,
                    action="allow" if allow else None,
                    source=source,
                    reason=reason,
                    severity=severity,
                    expires_at=None if lasting is None else datetime.now(UTC) + lasting,
                    replace=replace,
                    confirm=confirm,
                    dry_run=dry_run,
                )
            )
            total = done if not total else _sum(total, done)
    if invocation.json:
        emit(total)
        return
    names = ("rules", "added", "changed", "unchanged", "removed", "rejected")
    fields(invocation, [(name, str(total[name])) for name in names])
    for one in total["rejections"]:
        say(f"line {one['line']}: {printable(one['text'])}: {printable(one['why'])}")
    if total.get("impact"):
        say(printable(total["impact"]["summary"]))


@command.command("test")
@click.argument("values", nargs=-1, required=True)
@_kind
@shared_options
@pass_invocation
def test(invocation: Invocation, values: tuple[str, ...], kind: str | None) -> None:
    """Say what rules would have done to the last requests, and change nothing.

    \b
    Example:
      valhalla block test 203.0.113.0/24 198.51.100.7
    """
    rules = [{"type": _type(value, kind), "value": value} for value in values]
    with invocation.client() as client:
        from valhalla.sdk.blocklist import test as tried

        found = client.document(tried({"rules": rules}))
    if invocation.json:
        emit(found)
        return
    say(printable(found["summary"]))
    for name in ("owners", "paths"):
        if found[name]:
            say(f"{name}: {', '.join(map(printable, found[name]))}")


@command.command("check")
@click.argument("address")
@click.option("--path", default="/", show_default=True, help="What it asks for.")
@shared_options
@pass_invocation
def check(invocation: Invocation, address: str, path: str) -> None:
    """Say whether ADDRESS is let in, and which rule says so.

    \b
    Example:
      valhalla block check 203.0.113.7
    """
    with invocation.client() as client:
        from valhalla.sdk.blocklist import check as asked

        found = client.document(asked({"address": address, "path": path}))
    if invocation.json:
        emit(found)
        return
    said = f"blocked by {found['by']}" if found["blocked"] else "let in"
    if found["allowed_by"]:
        said += f", by {found['allowed_by']}"
    say(printable(said))


@command.command("stats")
@shared_options
@pass_invocation
def stats(invocation: Invocation) -> None:
    """Count the rules, and name those that refuse most.

    \b
    Example:
      valhalla block stats
    """
    with invocation.client() as client:
        from valhalla.sdk.blocklist import stats as counted

        found = client.document(counted())
    if invocation.json:
        emit(found)
        return
    fields(invocation, [(name, str(count)) for name, count in sorted(found["rules"].items())])
    table(invocation, ["key", "hits", "last"], [(r["key"], str(r["hits"]), r["last_hit_at"]) for r in found["top"]])


def _parts(text: str, form: str) -> list[str]:
    """Cut a list where its lines end; JSON and CSV with its header are taken as they are."""
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip() and not line.startswith(("#", ";"))), "")
    whole = form in ("csv", "crowdsec") or first.lstrip().startswith(("[", "{")) or (form == "auto" and "," in first)
    if whole or len(lines) <= _LINES:
        return [text]
    return ["".join(lines[begin : begin + _LINES]) for begin in range(0, len(lines), _LINES)]


def _sum(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    names = ("rules", "added", "changed", "unchanged", "removed", "rejected")
    summed = {name: total[name] + more[name] for name in names}
    return {**more, **summed, "rejections": [*total["rejections"], *more["rejections"]][:20]}
