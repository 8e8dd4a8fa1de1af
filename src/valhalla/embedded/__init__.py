"""Postgres, Valkey and NATS as child processes of this one: the servers of an installation that brings none.

Only the standard library is imported here, so that the servers start while heavier libraries load.
"""

from __future__ import annotations

from valhalla.embedded.contracts import SERVICES, Endpoints, NatsTrust
from valhalla.embedded.errors import DataDirInUse, MissingBinary, StartFailed
from valhalla.embedded.stack import Stack
from valhalla.embedded.valkey import admin_url as valkey_admin_url

__all__ = [
    "SERVICES",
    "DataDirInUse",
    "Endpoints",
    "MissingBinary",
    "NatsTrust",
    "Stack",
    "StartFailed",
    "valkey_admin_url",
]
