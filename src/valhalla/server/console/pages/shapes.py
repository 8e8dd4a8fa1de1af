"""What several pages have alike."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Action, Column, Field

UPDATED: Final = Column("updated_at", "changed")
ADMIN: Final = "/system/admin/actions/{name}"
"""Where an admin action is tried."""
GRACE: Final = Field(name="grace_seconds", label="grace in seconds", input="number", default="3600")
_COMMENT: Final = Field(name="reason", label="comment", help="kept in the ledger")
_HELD: Final = {"state": ("held",)}
# what was looked at is what is decided: changed arguments have another fingerprint
_SEEN: Final = {"fingerprint": "fingerprint"}


def decisions() -> tuple[Action, ...]:
    """Return what people do with something that waits for them: ``a`` approves, ``d`` denies."""
    return (
        Action(
            name="approve", label="Approve", path="{one}/approve", tone="good", key="a", when=_HELD,
            fields=(_COMMENT,), copy=_SEEN,
        ),
        Action(
            name="deny", label="Deny", path="{one}/deny", tone="danger", key="d", when=_HELD,
            fields=(_COMMENT,), copy=_SEEN,
        ),
        Action(
            name="cancel", label="Take back", path="{one}/cancel", when={"state": ("held", "approved")},
            fields=(_COMMENT,),
        ),
    )  # fmt: skip


def switches(path: str, *fields: Field) -> tuple[Action, ...]:
    """Return what puts something out of use and into use again; ``fields`` are those of putting it out."""
    return (
        Action(
            name="deactivate", label="Deactivate", path=f"{path}/deactivate", when={"active": (True,)}, fields=fields
        ),
        Action(name="activate", label="Activate", path=f"{path}/activate", when={"active": (False,)}),
    )
