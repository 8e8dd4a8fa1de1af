"""Guarded actions that wait for people."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Action, Column, Field, Page, Section
from valhalla.server.console.pages.shapes import ADMIN, decisions, history

PAGES: Final = (
    Page(
        slug="holds",
        title="Approvals",
        group="Guard",
        path="/system/holds",
        one="/system/holds/{hold_id}",
        key="id",
        name="action",
        noun="approval",
        teach="Nothing waits. An action that is irreversible waits here until somebody else than its requester approves"
        " it. Move with j and k, approve with a, deny with d.",
        columns=(
            Column("action"),
            Column("state", shape="status"),
            Column("requested_by", "asked by"),
            Column("arguments", shape="code"),
            Column("missing", "waits for"),
            Column("created_at", "asked"),
            Column("expires_at", "expires"),
        ),
        actions=(
            *decisions(),
            Action(
                name="settle",
                label="Settle",
                path="{one}/settle",
                when={"state": ("indeterminate",)},
                warning="Nobody knows whether the effect happened. Look where it would show, and say what you found.",
                fields=(
                    Field(name="outcome", input="select", options=("succeeded", "failed", "not_done"), required=True),
                    Field(name="evidence", input="area", required=True),
                ),
            ),
        ),
        sections=(
            Section("Beside the last one", "{one}/review", template="part_review.html"),
            Section(
                "What it would do now",
                ADMIN,
                template="part_rehearsal.html",
                of="action",
                begins="admin.",
                body={"arguments": "arguments.arguments", "reason": "arguments.reason"},
            ),
            history("action"),
        ),
        template="hold.html",
        topics=("action",),
        cli="valhalla hold ls",
        cli_one="valhalla hold show",
    ),
)
