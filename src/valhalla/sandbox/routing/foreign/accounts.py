"""Accounts of publishers that are not ours: what their JWTs say, and who may do what there. Pure but for signing.

Such an account is never the control plane's own: in there, the reply subject of any permitted request would let a
publisher write wherever event routing reads. From another account nothing leads there: a router fetches the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import Claims, KeyPair
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.foreign import patterns
from valhalla.sandbox.routing.foreign.contracts import EventSource

Role = Literal["publisher", "account"]
"""A publisher writes its source's subjects; an account's user may do everything in it."""
Mappings = Mapping[str, str]
"""From which subject to which, one for each claimed key."""

_MARK: Final = "valhalla-"


def key_of(cell: CellKey, account: str) -> str:
    """Return the public key of a source's account."""
    return account if patterns.is_foreign(account) else _pair(cell, account).public


def _pair(cell: CellKey, label: str) -> KeyPair:
    return KeyPair.derive(cell, "account", "source", label)


def fresh(cell: CellKey, account: str) -> Claims:
    """Return what the JWT of an account says that the control plane makes."""
    limits = {**natsauth.UNLIMITED, **natsauth.JETSTREAM_UNLIMITED}
    return {
        "sub": key_of(cell, account),
        "name": f"vh_{cell.cell}_source_{account}",
        "nats": {"limits": limits, "default_permissions": {}, "type": "account", "version": 2},
    }


def amended(present: Claims, cell: CellKey, kinds_: Iterable[str], mappings: Mappings) -> tuple[Claims, list[str]]:
    """Return the claims with what routing needs, and with everything of others as it was; then what was left out.

    A key is left out that a mapping of the account's own covers: of overlapping ones a server applies either.
    """
    public, body = str(present["sub"]), dict[str, Any](present["nats"])
    given: dict[str, list[dict[str, Any]]] = body.get("mappings") or {}
    others: dict[str, Any] = {subject: targets for subject, targets in given.items() if not _is_ours(targets)}
    covered = sorted(ours for ours in mappings if any(kinds.overlap(subject, ours) for subject in others))
    own = {subject: [{"subject": to, "weight": 100}] for subject, to in mappings.items() if subject not in covered}
    imports = [one for one in body.get("imports") or () if not str(one.get("name", "")).startswith(_MARK)]
    imports += _imports(natsauth.control_key(cell), public, kinds_)
    for name, member in (("imports", imports), ("mappings", others | own)):
        body.pop(name, None)
        if member:
            body[name] = member
    return {**present, "nats": body}, covered


def _is_ours(targets: Sequence[Mapping[str, Any]]) -> bool:
    return all(str(one.get("subject", "")).startswith(f"{patterns.CLAIMED}.") for one in targets)


def _imports(control: KeyPair, importer: str, kinds_: Iterable[str]) -> list[dict[str, str]]:
    made: list[dict[str, str]] = []
    for kind in sorted(set(kinds_), key=kinds.source_of):
        subject = patterns.production_subject(kind)
        token = natsauth.activation_jwt(control, importer, subject, "stream")
        where = {"subject": subject, "local_subject": subject, "type": "stream"}
        made.append({"name": f"{_MARK}production", "account": control.public, **where, "token": token})
    return made


def credentials(cell: CellKey, source: EventSource, role: Role, *, expires_at: datetime | None = None) -> str:
    """Return the text of a ``.creds`` file for a source's account that the control plane makes; secret.

    Raises:
        ValueError: the account is not one that it makes.
    """
    if patterns.is_foreign(source.account):
        raise ValueError("the keys of this account are somebody else's")
    account = _pair(cell, source.account)
    user = KeyPair.derive(cell, "user", "source", source.account, source.name, role)
    inbox, wild = "_INBOX.>", patterns.parse(source.subject).wild
    # the server asks for the subject that an event is mapped to, not for the one that it was published on
    publish = None if role == "account" else [wild, f"{patterns.CLAIMED}.{source.name}.>", inbox]
    token = natsauth.user_jwt(
        account,
        user.public,
        name=f"{source.name}-{role}",
        publish=publish,
        subscribe=None if role == "account" else [inbox],
        issued_at=natsauth.ISSUED,
        expires_at=None if expires_at is None else int(expires_at.timestamp()),
    )
    return natsauth.creds_file(token, user)
