"""How a sandbox looks to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.cli.documents import mapping, sequence
from valhalla.cli.invocation import Invocation
from valhalla.cli.output import fields
from valhalla.cli.text import instant_of, relative


def routes_of(sandbox: Mapping[str, Any]) -> str:
    """Return the sandbox's routes in one cell."""
    return ", ".join(
        route if isinstance(route, str) else f"{route['kind']}:{route['key']}" for route in sequence(sandbox, "routes")
    )


def expiry_of(sandbox: Mapping[str, Any]) -> str:
    """Return when the sandbox ends, or that it has."""
    if sandbox.get("destroyed_at"):
        return "-"
    return relative(instant_of(sandbox.get("expires_at")))


def show(invocation: Invocation, sandbox: Mapping[str, Any]) -> None:
    """Print the members a person looks for."""
    expires = sandbox.get("expires_at")
    described = f"{expiry_of(sandbox)} ({expires})" if expires else None
    metadata = ", ".join(f"{key}={value}" for key, value in mapping(sandbox, "metadata").items())
    members = [
        ("id", sandbox.get("id")),
        ("status", sandbox.get("status")),
        ("owner", sandbox.get("owner")),
        ("template", sandbox.get("template")),
        ("expires", described),
        ("slices", ", ".join(sequence(sandbox, "slices"))),
        ("schema", sandbox.get("schema")),
        ("routes", routes_of(sandbox)),
        ("description", sandbox.get("description")),
        ("tags", ", ".join(sequence(sandbox, "tags"))),
        ("metadata", metadata),
    ]
    fields(invocation, members)
