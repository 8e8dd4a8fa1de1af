"""The API's models of sandboxes."""

from valhalla.sandbox.wire.access import ConnectionOut
from valhalla.sandbox.wire.answers import (
    CreatedOut,
    ExtendedOut,
    PlannedOut,
    RouteOut,
    SandboxOut,
    SandboxPage,
    extended_out,
    planned_out,
)
from valhalla.sandbox.wire.reports import ReapOut, StatusOut, TableOut, reap_out, status_out
from valhalla.sandbox.wire.requests import EXAMPLE, ExtendIn, RouteIn, SandboxIn

__all__ = [
    "EXAMPLE",
    "ConnectionOut",
    "CreatedOut",
    "ExtendIn",
    "ExtendedOut",
    "PlannedOut",
    "ReapOut",
    "RouteIn",
    "RouteOut",
    "SandboxIn",
    "SandboxOut",
    "SandboxPage",
    "StatusOut",
    "TableOut",
    "extended_out",
    "planned_out",
    "reap_out",
    "status_out",
]
