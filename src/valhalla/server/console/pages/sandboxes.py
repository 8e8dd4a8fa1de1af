"""Sandboxes and templates."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Action, Column, Field, Page, Section

_RUNNING: Final = {"status": ("running",)}

PAGES: Final = (
    Page(
        slug="sandboxes",
        title="Sandboxes",
        group="Sandboxes",
        path="/api/sandboxes",
        one="/api/sandboxes/{reference}",
        key="id",
        name="name",
        noun="sandbox",
        teach="A sandbox is a disposable slice of Postgres, Valkey and NATS with its own credentials and an end. Make"
        " one here, with 'valhalla sandbox new', or in a test with the fixture 'valhalla_sandbox'.",
        columns=(
            Column("name"),
            Column("status", shape="status"),
            Column("owner"),
            Column("template"),
            Column("expires_at", "ends"),
            Column("last_activity_at", "last used"),
            Column("tags"),
            Column("id", shape="code"),
        ),
        tools=(
            Action(
                name="new",
                label="New sandbox",
                path="/api/sandboxes",
                tone="good",
                shows=True,
                fields=(
                    Field(name="name", help="empty: one is made up"),
                    Field(name="template", default="empty", help="see Templates"),
                    Field(name="ttl", label="time to live", default="1h", help="90m, 4h, 2d"),
                    Field(name="description"),
                    Field(name="tags", input="list", help="with commas between them"),
                    Field(name="owner", help="admins only; empty: your own"),
                ),
            ),
        ),
        actions=(
            Action(
                name="connect",
                label="Connect",
                method="GET",
                path="{one}/connection",
                shows=True,
                tone="good",
                when=_RUNNING,
                warning="Shows credentials of this sandbox on the screen.",
            ),
            Action(
                name="extend",
                label="Extend",
                path="{one}/extend",
                fields=(Field(name="ttl", label="time to live from now", default="1h", required=True),),
                when=_RUNNING,
            ),
            Action(
                name="link",
                label="Route events",
                path="{one}/routes",
                when=_RUNNING,
                fields=(
                    Field(name="kind", default="discord.guild", required=True),
                    Field(name="key", label="id", required=True, help="whose events come into the sandbox"),
                ),
            ),
            Action(
                name="snapshot",
                label="Snapshot",
                path="{one}/snapshot",
                when=_RUNNING,
                fields=(
                    Field(name="template", label="name of the template", required=True),
                    Field(name="replace", label="replace one of this name", input="check"),
                ),
            ),
            Action(
                name="reset",
                label="Reset",
                path="{one}/reset",
                tone="danger",
                when=_RUNNING,
                warning="Everything in it is removed; credentials and end stay.",
            ),
            Action(
                name="delete",
                label="Destroy",
                method="DELETE",
                path="{one}",
                tone="danger",
                when={"status": ("pending", "creating", "running", "expired")},
                warning="Its schema, keys and streams are gone at once. Nothing brings them back.",
            ),
        ),
        sections=(
            Section("Health", "{one}/status", template="part_health.html"),
            Section("Tables", "{one}/tables", (Column("table"), Column("rows")), items=""),
            Section(
                "Ledger",
                "{one}/audit",
                (Column("at"), Column("action"), Column("actor"), Column("details", shape="code")),
            ),
        ),
        topics=("sandbox",),
        choices={"status": ("pending", "creating", "running", "expired", "destroying", "destroyed")},
        cli="valhalla sandbox ls",
        cli_one="valhalla sandbox status",
    ),
    Page(
        slug="templates",
        title="Templates",
        group="Sandboxes",
        path="/api/templates",
        key="name",
        noun="template",
        teach="A template is what a fresh sandbox contains. A snapshot of a sandbox becomes one.",
        columns=(
            Column("name"),
            Column("kind"),
            Column("snapshot.created_at", "made"),
            Column("snapshot.owner", "owner"),
            Column("snapshot.bytes", "bytes"),
        ),
        actions=(
            Action(
                name="delete",
                label="Delete",
                method="DELETE",
                path="/api/templates/{name}",
                tone="danger",
                when={"kind": ("snapshot",)},
            ),
        ),
        topics=("templates",),
        cli="valhalla template ls",
    ),
)
