"""How configuration looks over HTTP, and what no write may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.operations.config import rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.errors import EntryNotFound, Immutable
from valhalla.features.operations.config.wire import EntryModel
from valhalla.kernel.principal import Principal
from valhalla.kit.changes.followers import Followers
from valhalla.kit.registry import Change, Registry
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/config"


def entry_face(registry: Registry[Entry], followers: Followers) -> Face[Entry]:
    """Return the face of the entries."""
    return Face(
        registry=registry,
        prefix=PREFIX,
        tag="config",
        noun="config entry",
        read="config:read",
        write="config:write",
        model=EntryModel,
        example={"value": 250, "type": "integer", "json_schema": {"maximum": 1000}},
        key_form=rules.KEY,
        key_example="checkout/timeout-ms",
        filters=("type", "mutable", "owner"),
        search=("description", "owner"),
        check=keep_immutable,
        missing=EntryNotFound,
        followers=followers,
        reserved=frozenset({"values", "stream", "export", "import"}),
    )


def keep_immutable(_conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
    """Refuse to change what was made to stay.

    Raises:
        Immutable: an immutable entry would be changed, or be deleted by somebody who is no admin.
    """
    for change in changes:
        before, after = change.before, change.after
        if before is None or before.get("mutable", True):
            continue
        if (not principal.is_admin) if after is None else not rules.is_kept(dict(before), dict(after)):
            raise Immutable(f"'{change.key}' is immutable", key=change.key)
