"""Sandboxes and templates."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Column, Field, Page, Section
from valhalla.server.console.forms import Sent
from valhalla.server.console.parts import Parts

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
            Commanded(
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
                cli="valhalla sandbox new {name} --template={template} --ttl={ttl}"
                " --description={description} --tag={tags} --owner={owner}",
            ),
        ),
        actions=(
            Commanded(
                name="connect",
                label="Connect",
                method="GET",
                path="{one}/connection",
                shows=True,
                tone="good",
                when=_RUNNING,
                warning="Shows credentials of this sandbox on the screen.",
                cli="valhalla sandbox env {one}",
            ),
            Commanded(
                name="extend",
                label="Extend",
                path="{one}/extend",
                fields=(Field(name="ttl", label="time to live from now", default="1h", required=True),),
                when=_RUNNING,
                cli="valhalla sandbox extend {one} {ttl}",
            ),
            Commanded(
                name="link",
                label="Route events",
                path="{one}/routes",
                when=_RUNNING,
                fields=(
                    Field(name="kind", default="discord.guild", required=True),
                    # the address of the form has a 'key' of its own: the sandbox's
                    Sent(name="id", member="key", required=True, help="whose events come into the sandbox"),
                ),
                cli="valhalla sandbox link {one} {kind}:{id}",
            ),
            Commanded(
                name="snapshot",
                label="Snapshot",
                path="{one}/snapshot",
                when=_RUNNING,
                fields=(
                    Field(name="template", label="name of the template", required=True),
                    Field(name="replace", label="replace one of this name", input="check"),
                ),
                cli="valhalla sandbox snapshot {one} --as={template} --replace={replace}",
            ),
            Commanded(
                name="reset",
                label="Reset",
                path="{one}/reset",
                tone="danger",
                when=_RUNNING,
                warning="Everything in it is removed; credentials and end stay.",
                cli="valhalla sandbox reset {one}",
            ),
            Commanded(
                name="delete",
                label="Destroy",
                method="DELETE",
                path="{one}",
                tone="danger",
                when={"status": ("pending", "creating", "running", "expired")},
                warning="Its schema, keys and streams are gone at once. Nothing brings them back.",
                cli="valhalla sandbox rm {one}",
            ),
        ),
        sections=(
            Section("Health", "{one}/status", template="part_health.html"),
            Parts(
                "Routes",
                "{one}/routes",
                template="part_routes.html",
                items="",
                slice="nats",
                when=_RUNNING,
                action=Commanded(
                    name="unlink",
                    label="Unlink",
                    method="DELETE",
                    path="{one}/routes/{kind}/{key}",
                    tone="danger",
                    warning="Its events go to production again, from the next one on.",
                    fields=(
                        Field(
                            name="unread",
                            label="what the sandbox has not read",
                            input="select",
                            options=("drain", "return", "drop"),
                            query=True,
                            help="drain: the sandbox still gets it; return: production does; drop: nobody",
                        ),
                    ),
                    cli="valhalla sandbox unlink {one} {part} --unread={unread}",
                ),
            ),
            Parts(
                "Newest live events",
                "{one}/events",
                template="part_lane.html",
                most=50,
                newest=True,
                slice="nats",
                when=_RUNNING,
                more="valhalla sandbox events {name} --follow",
            ),
            Parts(
                "Dead letters",
                "{one}/events/dead",
                template="part_dead.html",
                most=50,
                slice="nats",
                when=_RUNNING,
                action=Commanded(
                    name="replay",
                    label="Replay",
                    path="{one}/events/dead/{number}/replay",
                    warning="It comes onto the lane again as a new event, behind what is there.",
                    cli="valhalla sandbox dead {one} --replay={part}",
                ),
                more="valhalla sandbox dead {name} --json",
            ),
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
            Commanded(
                name="delete",
                label="Delete",
                method="DELETE",
                path="/api/templates/{name}",
                tone="danger",
                when={"kind": ("snapshot",)},
                cli="valhalla template rm {one}",
            ),
        ),
        topics=("templates",),
        cli="valhalla template ls",
    ),
)
