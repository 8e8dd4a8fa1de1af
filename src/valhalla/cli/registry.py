"""The commands that every registry has: ``registry_group`` makes them from its words.

A module of a command is then three lines::

    command = registry_group("flag", "flags", key="name", columns=("enabled", "groups"), example="new-checkout")
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.registry_output import cell, changes, differences, show, written
from valhalla.cli.text import printable

if TYPE_CHECKING:
    from valhalla.sdk.registries import RegistryCalls

F = TypeVar("F", bound=Callable[..., Any])
_MADE_HERE = ("version", "created_at", "updated_at", "next_start", "next_end")


def registry_group(noun: str, registry: str, *, key: str = "key", columns: Sequence[str], example: str) -> click.Group:
    """Return ``ls``, ``get``, ``put``, ``set``, ``rm``, ``history``, ``diff`` and ``rollback`` of one registry.

    ``registry`` is its name for the client, ``key`` the member that holds a record's key, ``columns`` what ``ls``
    shows beside it.
    """
    of = Words(noun, registry, key, tuple(columns))
    examples = f"\n\n\b\nExample:\n  valhalla {noun} ls\n  valhalla {noun} get {example}"
    group = click.Group(noun, help=f"Read and change {plural(noun)}, their history and their past.{examples}")
    shared_options(group)
    add_commands(group, of, example, tuple(_EXAMPLES))
    return group


def add_commands(group: click.Group, of: Words, example: str, names: Sequence[str]) -> None:
    """Add the named ones of the commands of a registry to a group that has others of its own."""
    for make in (_ls, _get, _put, _set, _rm, _history, _diff, _rollback):
        made = make(of)
        if made.name in names:
            line = f"valhalla {of.noun} {made.name} {_EXAMPLES[str(made.name)].format(example)}"
            made.help = f"{made.help}\n\n\b\nExample:\n  {line}"
            group.add_command(made)


_EXAMPLES = {
    "ls": "--json",
    "get": "{}",
    "put": "{} --file record.json",
    "set": "{} enabled=false --reason incident-7",
    "rm": "{} --dry-run",
    "history": "{}",
    "diff": "12",
    "rollback": "12 --dry-run",
}


class Words:
    """The words of one registry."""

    def __init__(self, noun: str, registry: str, key: str, columns: tuple[str, ...]) -> None:
        self.noun, self.registry, self.key, self.columns = noun, registry, key, columns

    @property
    def calls(self) -> RegistryCalls:
        """Its requests."""
        from valhalla.sdk.registries import RegistryCalls

        return RegistryCalls(self.registry)


def plural(noun: str) -> str:
    """Return the noun for several."""
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:] != "ey" else f"{noun}s"


def _writes(function: F) -> F:
    for option in (
        click.option("-n", "--dry-run", is_flag=True, help="Say what would change, and change nothing."),
        click.option("--reason", help="Why; kept in history and ledger."),
    ):
        function = option(function)
    return shared_options(function)


def _ls(of: Words) -> click.Command:
    @click.command("ls", help=f"List {plural(of.noun)}.")
    @click.option("--search", "text", help="Only those whose key or name holds this text.")
    @click.option("--where", "filters", multiple=True, metavar="MEMBER=VALUE", help="Only those; repeatable.")
    @click.option("--limit", type=click.IntRange(1), help="At most so many.")
    @shared_options
    @pass_invocation
    def ls(invocation: Invocation, text: str | None, filters: tuple[str, ...], limit: int | None) -> None:
        from valhalla.cli.paging import collect

        wanted: dict[str, Any] = dict(pair(each) for each in filters)
        with invocation.client() as client:
            found = collect(
                client, lambda size, cursor: of.calls.page(limit=size, cursor=cursor, q=text, **wanted), limit
            )
        if invocation.json:
            emit(found)
        elif invocation.quiet:
            for item in found["items"]:
                say(printable(item[of.key]))
        else:
            rows = [tuple(cell(item.get(name)) for name in (of.key, *of.columns)) for item in found["items"]]
            table(invocation, [of.key, *of.columns], rows)

    return ls


def _get(of: Words) -> click.Command:
    @click.command("get", help=f"Show one {of.noun}.")
    @click.argument("name")
    @shared_options
    @pass_invocation
    def get(invocation: Invocation, name: str) -> None:
        with invocation.client() as client:
            show(invocation, of.key, client.document(of.calls.get(name)))

    return get


def _put(of: Words) -> click.Command:
    @click.command("put", help=f"Create or replace a {of.noun} from a JSON document (standard input without --file).")
    @click.argument("name")
    @click.option("-f", "--file", "path", type=click.Path(path_type=Path, dir_okay=False, exists=True))
    @click.option("--expect", type=click.IntRange(0), help="Refuse if it is not at this version (0: must be new).")
    @_writes
    @pass_invocation
    def put(
        invocation: Invocation, name: str, path: Path | None, expect: int | None, reason: str | None, dry_run: bool
    ) -> None:
        record = _document(path)
        # what 'get --json' printed can be edited and put back
        members = {member: value for member, value in record.items() if member not in {*_MADE_HERE, of.key}}
        with invocation.client() as client:
            request = of.calls.put(name, members, expect=expect, reason=reason, dry_run=dry_run)
            written(invocation, of.key, client.document(request), dry_run=dry_run)

    return put


def _set(of: Words) -> click.Command:
    @click.command("set", help=f"Change members of a {of.noun}. A value is JSON if it reads as JSON, else text.")
    @click.argument("name")
    @click.argument("members", nargs=-1, required=True, metavar="MEMBER=VALUE...")
    @click.option("--expect", type=click.IntRange(1), help="Refuse if it is not at this version.")
    @_writes
    @pass_invocation
    def set_(
        invocation: Invocation,
        name: str,
        members: tuple[str, ...],
        expect: int | None,
        reason: str | None,
        dry_run: bool,
    ) -> None:
        patch = members_of(members)
        with invocation.client() as client:
            request = of.calls.patch(name, patch, expect=expect, reason=reason, dry_run=dry_run)
            written(invocation, of.key, client.document(request), dry_run=dry_run)

    return set_


def _rm(of: Words) -> click.Command:
    @click.command("rm", help=f"Remove a {of.noun}; its history stays.")
    @click.argument("name")
    @_writes
    @pass_invocation
    def rm(invocation: Invocation, name: str, reason: str | None, dry_run: bool) -> None:
        with invocation.client() as client:
            answer = client.document(of.calls.delete(name, reason=reason, dry_run=dry_run))
        if dry_run:
            written(invocation, of.key, answer, dry_run=True)
        elif invocation.json:
            emit({of.key: name, "removed": True})
        else:
            say(printable(name) if invocation.quiet else f"removed: {printable(name)}")

    return rm


def _history(of: Words) -> click.Command:
    @click.command("history", help=f"Show what happened to one {of.noun} or to all, newest first.")
    @click.argument("name", required=False)
    @click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
    @shared_options
    @pass_invocation
    def history(invocation: Invocation, name: str | None, limit: int) -> None:
        from valhalla.cli.paging import collect

        with invocation.client() as client:
            found = collect(client, lambda size, cursor: of.calls.history(name, limit=size, cursor=cursor), limit)
        changes(invocation, found, found["items"])

    return history


def _diff(of: Words) -> click.Command:
    @click.command("diff", help="Show what differs between two revisions; without AFTER until now.")
    @click.argument("before", type=click.IntRange(0))
    @click.argument("after", type=click.IntRange(0), required=False)
    @shared_options
    @pass_invocation
    def diff(invocation: Invocation, before: int, after: int | None) -> None:
        from valhalla.cli.paging import collect

        with invocation.client() as client:
            found = collect(client, lambda size, cursor: of.calls.diff(before, after, limit=size, cursor=cursor), None)
        if invocation.json:
            emit(found)
        else:
            rows = [(each["key"], differences(each)) for each in found["items"]]
            table(invocation, [of.key, "differences"], rows)

    return diff


def _rollback(of: Words) -> click.Command:
    @click.command("rollback", help=f"Bring all {plural(of.noun)}, or the one that is named, back to a revision.")
    @click.argument("revision", type=click.IntRange(0))
    @click.argument("name", required=False)
    @_writes
    @pass_invocation
    def rollback(invocation: Invocation, revision: int, name: str | None, reason: str | None, dry_run: bool) -> None:
        with invocation.client() as client:
            request = of.calls.rollback(revision, name, reason=reason, dry_run=dry_run)
            answer = client.document(request)
        if dry_run:
            remark(invocation, "Nothing was changed; this would be:")
        changes(invocation, answer, answer["items"])

    return rollback


def pair(text: str) -> tuple[str, str]:
    """Return the two sides of ``MEMBER=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not MEMBER=VALUE.")
    return name, value


def members_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return the members that ``MEMBER=VALUE`` are, each value read as JSON if it is some."""
    return {name: value_of(text) for name, text in map(pair, texts)}


def value_of(text: str) -> Any:
    """Return JSON if it reads as JSON, else the text."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _document(path: Path | None) -> dict[str, Any]:
    import json

    text = sys.stdin.read() if path is None else path.read_text()
    try:
        record: Any = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"that is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise click.UsageError("a record is a JSON object")
    return record  # pyright: ignore[reportUnknownVariableType]
