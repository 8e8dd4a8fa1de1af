"""What several pages have alike."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Action, Column, Field, Section

UPDATED: Final = Column("updated_at", "changed")
ADMIN: Final = "/system/admin/actions/{name}"
"""Where an admin action is tried."""
GRACE: Final = Field(name="grace_seconds", label="grace in seconds", input="number", default="3600")
_COMMENT: Final = Field(name="reason", label="comment", help="kept in the ledger")
_REVISION: Final = Field(name="to_revision", label="revision", input="number", required=True)
# the others are called by an id
_NAMED: Final = frozenset({"schedule", "heartbeat"})
_HELD: Final = {"state": ("held",)}
# what was looked at is what is decided: changed arguments have another fingerprint
_SEEN: Final = {"fingerprint": "fingerprint"}


def history(kind: str) -> Section:
    """Return what the ledger tells of a record that is no entry of a registry; ``kind`` is what it is called there."""
    return Section(
        "History",
        "/system/audit",
        (Column("at"), Column("actor"), Column("action"), Column("details", shape="code")),
        query={"subject": "id" if kind not in _NAMED else "name"},
        always={"kind": kind, "limit": "50"},
    )


def decisions() -> tuple[Action, ...]:
    """Return what people do with something that waits for them: ``a`` approves, ``d`` denies."""
    return (
        Commanded(
            name="approve", label="Approve", path="{one}/approve", tone="good", key="a", when=_HELD,
            fields=(_COMMENT,), copy=_SEEN, cli="valhalla hold approve {one} --reason={reason}",
        ),
        Commanded(
            name="deny", label="Deny", path="{one}/deny", tone="danger", key="d", when=_HELD,
            fields=(_COMMENT,), copy=_SEEN, cli="valhalla hold deny {one} --reason={reason}",
        ),
        Commanded(
            name="cancel", label="Take back", path="{one}/cancel", when={"state": ("held", "approved")},
            fields=(_COMMENT,), cli="valhalla hold cancel {one} --reason={reason}",
        ),
    )  # fmt: skip


def switches(path: str, off: str, on: str, *fields: Field) -> tuple[Action, ...]:
    """Return what puts something out of use and into use again; ``fields`` are those of putting it out."""
    return (
        Commanded(
            name="deactivate", label="Deactivate", path=f"{path}/deactivate", when={"active": (True,)}, fields=fields,
            cli=off,
        ),
        Commanded(name="activate", label="Activate", path=f"{path}/activate", when={"active": (False,)}, cli=on),
    )  # fmt: skip


def kept(group: str, *names: str) -> tuple[Action, ...]:
    """Return what is done with a registry's record, or of that what is named, with the commands of ``group``."""
    every = (
        Commanded(
            name="edit", label="Edit", method="PUT", path="{one}", whole=True,
            cli=f"{group} put {{one}} --file=DEFINITION.json --reason={{reason}}",
        ),
        Commanded(
            name="rollback", label="Roll back", path="{one}/rollback", fields=(_REVISION,),
            cli=f"{group} rollback {{to_revision}} {{one}} --reason={{reason}}",
        ),
        Commanded(
            name="delete", label="Delete", method="DELETE", path="{one}", tone="danger",
            cli=f"{group} rm {{one}} --reason={{reason}}",
        ),
    )  # fmt: skip
    return tuple(each for each in every if not names or each.name in names)
