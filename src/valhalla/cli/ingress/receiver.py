"""``valhalla ingress receiver``."""

from __future__ import annotations

from valhalla.cli.registry import registry_group

command = registry_group(
    "ingress receiver", "receivers", key="name", columns=("kind", "key_from", "scheme", "enabled"), example="github"
)
