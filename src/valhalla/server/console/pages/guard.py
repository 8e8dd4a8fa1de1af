"""Guarded actions that wait for people."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Action, Column, Field, Page

_REASON: Final = Field(name="reason", label="comment", help="kept in the ledger")
_OPEN: Final = {"state": ("held",)}

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
            Action(
                name="approve",
                label="Approve",
                path="{one}/approve",
                tone="good",
                key="a",
                when=_OPEN,
                fields=(_REASON,),
                # what was looked at is what is approved: changed arguments have another fingerprint
                copy={"fingerprint": "fingerprint"},
            ),
            Action(
                name="deny",
                label="Deny",
                path="{one}/deny",
                tone="danger",
                key="d",
                when=_OPEN,
                fields=(_REASON,),
                copy={"fingerprint": "fingerprint"},
            ),
            Action(
                name="cancel",
                label="Take back",
                path="{one}/cancel",
                when={"state": ("held", "approved")},
                fields=(_REASON,),
            ),
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
        topics=("action",),
        cli="valhalla hold ls",
        cli_one="valhalla hold show",
    ),
)
