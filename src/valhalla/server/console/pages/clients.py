"""Who may ask: API clients and their keys."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Column, Field, Page
from valhalla.server.console.pages.shapes import GRACE, switches

_LAST: Final = Field(name="confirm", input="check", query=True, label="also if it is the last admin key")

PAGES: Final = (
    Page(
        slug="clients",
        title="API clients",
        group="Operations",
        path="/system/api-clients",
        one="/system/api-clients/{key}",
        key="id",
        name="name",
        noun="client",
        teach="There are no clients. Each has a key that is shown once.",
        columns=(
            Column("name"),
            Column("owner"),
            Column("role"),
            Column("scopes"),
            Column("active"),
            Column("last_used_at", "last used"),
            Column("expires_at", "expires"),
            Column("prefix", "begins with", "code"),
        ),
        tools=(
            Commanded(
                name="new",
                label="New client",
                path="/system/api-clients",
                tone="good",
                shows=True,
                fields=(
                    Field(name="owner", required=True, help="whose sandboxes it makes and sees"),
                    Field(name="name"),
                    Field(name="role", input="select", options=("", "viewer", "developer", "operator", "admin")),
                    Field(name="scopes", input="list", help="beside the role's, with commas: sandbox:write, jobs:read"),
                    Field(name="expires_at", label="expires", input="time", help="UTC; empty: never"),
                    Field(name="networks", input="list", help="the only ones it may be used from: 10.0.0.0/8"),
                    Field(name="limits", input="list", help="100/minute"),
                ),
                cli="valhalla key new --owner={owner} --name={name} --role={role} --scope={scopes}"
                " --network={networks} --limit={limits} --expires-in={expires_at:until}",
            ),
        ),
        actions=(
            Commanded(
                name="rotate",
                label="Rotate",
                path="/system/api-clients/{client_id}/rotate",
                shows=True,
                warning="The new key is shown once. The old one works on for the grace.",
                fields=(GRACE,),
                cli="valhalla key rotate {one} --grace={grace_seconds:seconds}",
            ),
            *switches(
                "/system/api-clients/{client_id}",
                "valhalla key deactivate {one} --confirm={confirm}",
                "valhalla key activate {one}",
                _LAST,
            ),
            Commanded(
                name="delete",
                label="Revoke",
                method="DELETE",
                path="/system/api-clients/{client_id}",
                tone="danger",
                warning="It never comes back.",
                fields=(_LAST,),
                cli="valhalla key revoke {one} --confirm={confirm}",
            ),
        ),
        topics=("registry.api_clients",),
        cli="valhalla key ls",
    ),
    Page(
        slug="applications",
        title="Applications",
        group="Operations",
        path="/system/applications",
        key="instance",
        name="name",
        noun="application",
        teach="No application follows this control plane: valhalla.install(app, plane=…) makes one.",
        columns=(
            Column("name"),
            Column("host"),
            Column("state", shape="status"),
            Column("lacks", "cannot enforce", "code"),
            Column("release"),
            Column("blocklist", "revision of the blocklist"),
            Column("seen_at", "last seen"),
        ),
        topics=("applications",),
        cli="valhalla applications",
    ),
)
