"""``valhalla config``: configuration entries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import remark, say
from valhalla.cli.registry import registry_group
from valhalla.cli.registry_output import changes

if TYPE_CHECKING:
    from valhalla.features.operations.config import documents

command = registry_group(
    "config", "config", columns=("value", "type", "mutable", "owner", "description"), example="checkout/timeout-ms"
)
_BY_NAME: Final[dict[str, documents.Form]] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_FORMS = click.Choice(["json", "toml", "yaml"])


@command.command("export")
@click.option("--format", "form", type=_FORMS, default="json", show_default=True, help="As what.")
@shared_options
@pass_invocation
def export(invocation: Invocation, form: documents.Form) -> None:
    """Write every entry as one document.

    \b
    Example:
      valhalla config export --format toml > config.toml
    """
    from valhalla.features.operations.config import documents
    from valhalla.sdk.calls import config_export

    with invocation.client() as client:
        entries: dict[str, Any] = client.document(config_export())
    say(documents.write(entries, form).decode().rstrip("\n"))


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
@click.option("--format", "form", type=_FORMS, help="As what; by the name of the file without it.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--reason", help="Why; kept in history and ledger.")
@shared_options
@pass_invocation
def import_(invocation: Invocation, path: Path, form: documents.Form | None, dry_run: bool, reason: str | None) -> None:
    """Create or replace the entries of a document, all or none.

    \b
    Example:
      valhalla config import config.toml --dry-run
    """
    from valhalla.features.operations.config import documents
    from valhalla.sdk.calls import config_import

    raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    chosen: documents.Form = form or _BY_NAME.get(path.suffix, "json")
    with invocation.client() as client:
        answer = client.document(config_import(documents.read(raw, chosen), reason=reason, dry_run=dry_run))
    if dry_run:
        remark(invocation, "Nothing was changed; this would be:")
    changes(invocation, answer, [each for each in answer["items"] if each["changed"]])
