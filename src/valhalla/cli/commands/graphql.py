"""``valhalla graphql``: several things in one question."""

from __future__ import annotations

import sys

import click

from valhalla.cli.failures import REFUSED
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit
from valhalla.cli.registry import members_of


@click.command("graphql")
@click.argument("query")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable; JSON, else text; repeatable."
)
@shared_options
@pass_invocation
def command(invocation: Invocation, query: str, variables: tuple[str, ...]) -> int:
    """Ask a GraphQL query ('-': standard input) and print the answer as JSON; refused fields end it with 1.

    \b
    Example:
      valhalla graphql '{ sandboxes(limit: 5) { items { name status ledger(limit: 3) { action } } } }'
    """
    text = sys.stdin.read() if query == "-" else query
    with invocation.client() as client:
        answer = client.graph.query(text, members_of(variables))
    emit(answer)
    return REFUSED if answer.get("errors") else 0
