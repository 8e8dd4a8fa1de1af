"""``valhalla legal-hold``: rows that no purge may take."""

from __future__ import annotations

from valhalla.cli.registry import registry_group

command = registry_group(
    "legal-hold", "/system/retention/holds", key="name", columns=("category", "reason"), example="case-2026-17"
)
