"""What crosses the border of this room: where the servers are, and whom NATS trusts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Protocol

SERVICES: Final = ("postgres", "valkey", "nats")
"""Every service, in the order they start; they stop in the reverse order."""

_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Endpoints:
    """Where the embedded servers answer; ``None`` stands for a service that is not embedded.

    The URLs of Postgres and Valkey contain an administrator's password, which the repr hides.
    """

    postgres_superuser_url: str | None = None
    postgres_port: int | None = None
    valkey_url: str | None = None
    nats_url: str | None = None
    nats_jwt_dir: Path | None = None
    """The folder of the full resolver: one ``<account key>.jwt`` for each account."""

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return _PASSWORD.sub(r"\1:***@", f"Endpoints({', '.join(shown)})")


class NatsTrust(Protocol):
    """Whom the NATS server trusts: public keys and signed tokens, nothing secret (``kit.natsauth.NatsTrust``)."""

    @property
    def operator_jwt(self) -> str:
        """The operator's self-signed JWT."""
        ...

    @property
    def system_account(self) -> str:
        """The public key of the system account."""
        ...

    @property
    def accounts(self) -> Mapping[str, str]:
        """Public key → JWT of the accounts that exist from the start, the system account among them."""
        ...
