"""``valhalla source``: programs that publish events straight to NATS, under subjects of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.registry import Words, add_commands
from valhalla.cli.text import printable


@click.group("source")
@shared_options
def command() -> None:
    """Declare who publishes events straight to NATS; give them credentials.

    \b
    Example:
      valhalla source new orders 'orders.{key}.{type}' --kind tenant
      valhalla source creds orders --output orders.creds
      valhalla source state orders
    """


add_commands(
    command,
    Words("source", "sources", "name", ("subject", "kind", "way", "account", "enabled")),
    "orders",
    ("ls", "get", "put", "set", "rm", "history", "diff", "rollback"),
)


@command.command("new")
@click.argument("name")
@click.argument("subject")
@click.option("--kind", required=True, help="The kind of routes that claim its keys, such as tenant.")
@click.option("--account", help="A word for an account to be made, or the public key of one that exists.")
@click.option("--way", type=click.Choice(["mapping", "router"]), help="By the server, or by 'valhalla router'.")
@click.option("--stream", help="Of a router: the account's stream that has the events.")
@click.option("--description", help="For people.")
@shared_options
@pass_invocation
def new(invocation: Invocation, name: str, subject: str, **members: str | None) -> None:
    """Declare that programs publish SUBJECT: '{key}' is the token that is claimed, '{type}' the event's type.

    \b
    Example:
      valhalla source new orders 'orders.{key}.{type}' --kind tenant
    """
    body = {"name": name, "subject": subject} | {key: value for key, value in members.items() if value is not None}
    with invocation.client() as client:
        from valhalla.sdk.registries import RegistryCalls

        found: dict[str, Any] = client.document(RegistryCalls("sources").create(body))
    if invocation.json:
        emit(found)
        return
    say(printable(name))
    if found.get("way") == "router":
        remark(invocation, f"Run it: {invocation.again('router', name)}")


@command.command("creds")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["publisher", "account"]),
    default="publisher",
    show_default=True,
    help="Its subjects alone, or everything in its account.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long they are good.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write them there, mode 0600.")
@shared_options
@pass_invocation
def creds(invocation: Invocation, name: str, role: Any, days: int, output: Path | None) -> None:
    """Issue NATS credentials for the programs of a source.

    \b
    Example:
      valhalla source creds orders --output orders.creds
    """
    with invocation.client() as client:
        from valhalla.sdk import sources

        found: dict[str, Any] = client.document(sources.credentials(name, role=role, days=days))
    if output is not None:
        from valhalla.cli.creds import write_private

        write_private(output, found["creds"])
    if invocation.json:
        emit(found if output is None else found | {"creds": str(output)})
    elif output is None:
        say(found["creds"].rstrip("\n"))
    else:
        say(str(output))
    remark(invocation, f"They open {printable(found['url'])}. Who has them can publish: keep them as a password.")


@command.command("state")
@click.argument("name")
@shared_options
@pass_invocation
def state(invocation: Invocation, name: str) -> None:
    """Show which claimed keys of a source the NATS server maps.

    \b
    Example:
      valhalla source state orders
    """
    with invocation.client() as client:
        from valhalla.sdk import sources

        found: dict[str, Any] = client.document(sources.state(name))
    if invocation.json:
        emit(found)
        return
    fields(invocation, [("way", found["way"]), ("account", found["account"]), ("fault", found["fault"])])
    rows = [(printable(each["subject"]), printable(each["to"])) for each in found["mapped"]]
    table(invocation, ["mapped", "to"], rows)
