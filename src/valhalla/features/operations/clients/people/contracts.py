"""The values of people."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

PREFIX: Final = "person:"
"""How the ids of people begin; no API client's does."""


class Person(msgspec.Struct, frozen=True):
    """One person as the registry stores it, under ``person:`` and the name.

    ``issuer`` and ``subject`` say who it is, whatever becomes of the name; ``groups`` are those that gave a role at the
    last sign-in. The role is not stored: it is what the settings give these groups now.
    """

    name: str
    issuer: str
    subject: str
    owner: str
    groups: tuple[str, ...]
    created_at: datetime
    active: bool = True

    @property
    def digest(self) -> str:
        """What stands for the account: a session that was opened by another of the same name is not this one's."""
        return account(self.issuer, self.subject)


def account(issuer: str, subject: str) -> str:
    """Return what stands for an account of an issuer: SHA-256 in hex."""
    return sha256(f"{len(issuer)}:{issuer}{subject}".encode()).hexdigest()
