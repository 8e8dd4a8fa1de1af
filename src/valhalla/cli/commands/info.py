"""``valhalla info``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.documents import mapping
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, say


@click.command("info")
@shared_options
@pass_invocation
def command(invocation: Invocation) -> None:
    """Show the control plane's address, data directory and services.

    \b
    Example:
      curl "$(valhalla info -q)/ready"
    """
    with invocation.client() as client:
        document: dict[str, Any] = client.info()
        control = client.endpoint.control
        document.setdefault("url", client.endpoint.url)
    if control is not None:
        # where the key lies is known on this machine only
        document["data_dir"] = str(control.data_dir)
        document["admin_key_file"] = str(control.admin_key_file)
        document["pid"] = control.pid
    if invocation.json:
        emit(document)
        return
    if invocation.quiet:
        say(str(document["url"]))
        return
    say(f"Valhalla {document.get('version', '')}")
    services = mapping(document, "services")
    fields(
        invocation,
        [
            ("url", document["url"]),
            ("data directory", document.get("data_dir")),
            ("admin key", document.get("admin_key_file")),
            ("cell", document.get("cell")),
            *((name, f"{s.get('mode', '')} {s.get('address', '')}".strip()) for name, s in services.items()),
            ("running sandboxes", mapping(document, "sandboxes").get("running")),
        ],
    )
