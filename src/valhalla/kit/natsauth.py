"""NATS decentralised authentication: JWTs (version 2) of keys that derive from the cell key, made offline.

An operator signs accounts, an account signs users; a server holds only public keys. Every key derives from
the cell key and ed25519 is deterministic: equal inputs give equal bytes, and a restart rewrites nothing.
Format: github.com/nats-io/jwt (v2).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson

from valhalla.kit.cellkey import CellKey
from valhalla.kit.nkeys import KeyPair

Claims = dict[str, Any]

_HEADER: Final = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"ed25519-nkey"}').decode().rstrip("=")

ISSUED: Final = 1_767_398_400
"""``iat`` of what is signed once per cell (2026-01-03Z); raise it when the content changes."""

UNLIMITED: Final[Mapping[str, int | bool]] = {
    "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1,
    "imports": -1, "exports": -1, "wildcards": True,
}  # fmt: skip
JETSTREAM_UNLIMITED: Final[Mapping[str, int]] = {
    "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
}  # fmt: skip


# what sandboxes read of the stream of events: each needs VALHALLA's own leave, which names its sandbox alone
_LANES: Final[Sequence[Mapping[str, Any]]] = (
    {"name": "lanes", "subject": "ev.s.*.>", "type": "stream", "token_req": True},
    # for the accounts of programs that publish subjects of their own
    {"name": "production", "subject": "ev.p.*.*.*", "type": "stream", "token_req": True},
    *(
        {"name": subject, "subject": subject, "type": "service", "response_type": response, "token_req": True}
        for subject, response in (
            ("$JS.API.CONSUMER.MSG.NEXT.VH_EV.*", "Stream"),
            ("$JS.API.CONSUMER.INFO.VH_EV.*", "Singleton"),
            ("$JS.ACK.VH_EV.*.>", "Singleton"),
        )
    ),
)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def encode_jwt(
    signer: KeyPair,
    subject: str,
    name: str,
    nats: Mapping[str, Any],
    *,
    issued_at: int,
    expires_at: int | None = None,
) -> str:
    """Sign claims. Instants are unix seconds; ``jti`` hashes the claims, as in the reference library."""
    claims: Claims = {
        "jti": "",
        "iat": issued_at,
        "iss": signer.public,
        "name": name,
        "sub": subject,
        "nats": dict(nats),
    }
    if expires_at is not None:
        claims["exp"] = expires_at
    digest = hashlib.sha256(orjson.dumps(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    body = f"{_HEADER}.{_b64(orjson.dumps(claims))}"
    return f"{body}.{_b64(signer.sign(body.encode()))}"


def decode_jwt(token: str) -> Claims:
    """Return the claims without verifying anything; for tokens that a trusted server handed out.

    Raises:
        ValueError: the text is not a JWT.
    """
    try:
        _, body, _ = token.strip().split(".")
        claims: object = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError as error:
        raise ValueError("not a JWT") from error
    if not isinstance(claims, dict):
        raise ValueError("not a JWT")
    return cast("Claims", claims)


def operator_jwt(operator: KeyPair, *, name: str, system_account: str, issued_at: int = ISSUED) -> str:
    """Return the operator's self-signed JWT, which names the system account."""
    body = {"system_account": system_account, "type": "operator", "version": 2}
    return encode_jwt(operator, operator.public, name, body, issued_at=issued_at)


def account_jwt(
    operator: KeyPair,
    account: str,
    *,
    name: str,
    limits: Mapping[str, int | bool] = UNLIMITED,
    revocations: Mapping[str, int] | None = None,
    imports: Sequence[Mapping[str, Any]] = (),
    exports: Sequence[Mapping[str, Any]] = (),
    mappings: Mapping[str, Any] | None = None,
    issued_at: int | None = None,
) -> str:
    """Return an account's JWT.

    ``limits`` has the members of ``jwt.OperatorLimits`` (-1 is no limit, a missing one is 0). ``revocations``
    maps a user's public key, or ``*``, to a unix second: users issued until then are refused and cut off.
    """
    body: Claims = {"limits": dict(limits), "default_permissions": {}, "type": "account", "version": 2}
    optional: Claims = {"revocations": dict(revocations or {}), "imports": list(imports), "exports": list(exports)}
    optional["mappings"] = dict(mappings or {})
    body |= {member: value for member, value in optional.items() if value}
    return encode_jwt(operator, account, name, body, issued_at=int(time.time()) if issued_at is None else issued_at)


def _permission(allow: Sequence[str] | None) -> Claims:
    if allow is None:
        return {}
    # an empty allow list means "everything" to the server
    return {"allow": list(allow)} if allow else {"deny": [">"]}


def user_jwt(
    account: KeyPair,
    user: str,
    *,
    name: str,
    publish: Sequence[str] | None = None,
    subscribe: Sequence[str] | None = None,
    limits: Mapping[str, Any] | None = None,
    issued_at: int | None = None,
    expires_at: int | None = None,
) -> str:
    """Return a user's JWT. ``None`` allows every subject, an empty list none; instants are unix seconds."""
    body: Claims = {
        "pub": _permission(publish),
        "sub": _permission(subscribe),
        **({"subs": -1, "data": -1, "payload": -1} | dict(limits or {})),
        "type": "user",
        "version": 2,
    }
    issued_at = int(time.time()) if issued_at is None else issued_at
    return encode_jwt(account, user, name, body, issued_at=issued_at, expires_at=expires_at)


def activation_jwt(account: KeyPair, importer: str, subject: str, kind: Literal["stream", "service"]) -> str:
    """Return an account's leave for another, by its public key, to import one subject of a private export."""
    body = {"subject": subject, "kind": kind, "type": "activation", "version": 2}
    return encode_jwt(account, importer, "lane", body, issued_at=ISSUED)


def delete_claim(operator: KeyPair, accounts: Sequence[str]) -> str:
    """Return the signed request body of ``$SYS.REQ.CLAIMS.DELETE`` for these account keys."""
    body = {"accounts": list(accounts), "type": "generic", "version": 2}
    return encode_jwt(operator, operator.public, "delete", body, issued_at=int(time.time()))


def creds_file(token: str, user: KeyPair) -> str:
    """Return the text of a ``.creds`` file; secret."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "NKEY Seed printed below can be used to sign and prove identity.\n"
        "NKEYs are sensitive and should be treated as secrets.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n"
    )


@dataclass(frozen=True, slots=True)
class NatsTrust:
    """What a server must know to trust one cell: goes into its configuration; nothing in it is secret."""

    operator_jwt: str
    system_account: str
    accounts: dict[str, str]
    """Account public key → account JWT."""


def operator_key(cell: CellKey) -> KeyPair:
    """Return the cell's own operator key; it signs every account of the embedded server."""
    return KeyPair.derive(cell, "operator", "cell")


def control_key(cell: CellKey) -> KeyPair:
    """Return the key of VALHALLA, which signs its users and what others may import from it."""
    return KeyPair.derive(cell, "account", "control")


def control_account(cell: CellKey, operator: KeyPair) -> tuple[str, str]:
    """Return public key and JWT of VALHALLA, the control plane's own account, under ``operator``."""
    public = control_key(cell).public
    limits = {**UNLIMITED, **JETSTREAM_UNLIMITED}
    token = account_jwt(operator, public, name="VALHALLA", limits=limits, exports=_LANES, issued_at=ISSUED)
    return public, token


def trust(cell: CellKey) -> NatsTrust:
    """Return the cell's operator and its two standing accounts: SYS and VALHALLA (unlimited JetStream)."""
    operator = operator_key(cell)
    system = KeyPair.derive(cell, "account", "system").public
    control, control_token = control_account(cell, operator)
    accounts = {system: account_jwt(operator, system, name="SYS", issued_at=ISSUED), control: control_token}
    token = operator_jwt(operator, name=f"valhalla-{cell.cell}", system_account=system)
    return NatsTrust(token, system, accounts)


def _standing_creds(cell: CellKey, purpose: str) -> str:
    user = KeyPair.derive(cell, "user", purpose)
    token = user_jwt(KeyPair.derive(cell, "account", purpose), user.public, name=purpose, issued_at=ISSUED)
    return creds_file(token, user)


def system_creds(cell: CellKey) -> str:
    """Return the credentials of the system account's user, which may push and delete accounts; secret."""
    return _standing_creds(cell, "system")


def control_creds(cell: CellKey) -> str:
    """Return the credentials of the control plane's own user in VALHALLA; secret."""
    return _standing_creds(cell, "control")
