"""What no change of API clients may do: hold unknown rights, give more than the giver has, or lock everybody out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.operations.clients.contracts import ROLE, ApiClient
from valhalla.features.operations.clients.errors import BeyondOwnRights, LastAdmin
from valhalla.features.operations.clients.networks import networks
from valhalla.features.operations.clients.rules import is_admin
from valhalla.features.operations.limits.rules import parse_rate
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kernel.scopes import ROLES, SCOPES, is_scope, scopes_of
from valhalla.kit.registry import Change, Registry

_OWNER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


def check(client: ApiClient) -> None:
    """Accept a client that can be stored.

    Raises:
        Invalid: a scope is unknown, the owner's form is wrong, or a network or limit cannot be read.
    """
    unknown = sorted(scope for scope in client.scopes if not is_scope(scope) and ROLE.fullmatch(scope) is None)
    if unknown:
        known = ", ".join(sorted(SCOPES))
        raise Invalid(f"scopes are {known}, <area>:* and role:<name>", unknown=[text[:64] for text in unknown])
    if not client.scopes and client.role is None:
        raise Invalid(f"a key needs scopes or a role: {', '.join(ROLES)}")
    if _OWNER.fullmatch(client.owner) is None:
        raise Invalid("an owner is 1 to 63 characters of a-z, 0-9, '_', '.' and '-', a letter first")
    networks(client.networks)
    for limit in client.limits:
        parse_rate(limit)


def within_rights(principal: Principal, client: ApiClient) -> None:
    """Accept that a principal gives (or has a hand on) a client's rights.

    Raises:
        BeyondOwnRights: it does not hold them all itself.
    """
    wanted = {*client.scopes, *scopes_of(client.role)}
    missing = sorted(scope for scope in wanted if not principal.allows(scope))
    if missing:
        raise BeyondOwnRights(f"this key does not hold {', '.join(missing)[:200]}", missing=missing[:20])


def keep_admin(conn: Connection, registry: Registry[ApiClient], changes: Sequence[Change], now: datetime) -> None:
    """Refuse changes after which no key could administer the control plane.

    Raises:
        LastAdmin: it is so.
    """

    def admin(change: Change, body: Any) -> bool:
        return body is not None and is_admin(registry.decode(change.key, body), now)

    if not any(admin(change, change.before) and not admin(change, change.after) for change in changes):
        return
    touched = {change.key: admin(change, change.after) for change in changes}
    if any(touched.values()):
        return
    for where in ({"role": "admin"}, {"scopes": ["admin"]}):
        cursor: str | None = None
        while True:
            page = registry.page(conn, limit=200, cursor=cursor, where=where)
            if any(is_admin(one.value, now) and one.key not in touched for one in page.items):
                return
            cursor = page.next
            if cursor is None:
                break
    raise LastAdmin
