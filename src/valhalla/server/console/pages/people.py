"""The page of people who sign in with an issuer."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Column, Page

PAGES: Final = (
    Page(
        slug="people",
        title="People",
        group="Operations",
        path="/system/people",
        one="/system/people/{key}",
        key="id",
        name="name",
        noun="person",
        teach="Nobody has signed in with an issuer (see the settings oidc_issuer and oidc_roles).",
        columns=(
            Column("name"),
            Column("role"),
            Column("groups"),
            Column("owner"),
            Column("active"),
            Column("last_used_at", "last used"),
        ),
        actions=(
            Commanded(
                name="stop",
                label="Deactivate",
                method="PATCH",
                path="{one}",
                body={"active": False},
                tone="danger",
                when={"active": (True,)},
                warning="Their sessions end at once, and they cannot sign in again.",
                cli="valhalla person set {one} active=false",
            ),
            Commanded(
                name="restore", label="Activate", method="PATCH", path="{one}", body={"active": True},
                when={"active": (False,)},
                cli="valhalla person set {one} active=true",
            ),
        ),
        topics=("registry.people",),
        cli="valhalla person ls",
        cli_one="valhalla person get",
    ),
)  # fmt: skip
