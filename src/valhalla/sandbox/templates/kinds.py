"""The kinds of templates: how a fresh Postgres slice gets its contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeGuard

from valhalla.sandbox.slices.contracts import Isolation

DEFAULT_TIMEOUT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """SQL that ships with the product; trusted, so it runs in the transaction that makes the schema."""

    name: str
    sql: str

    @property
    def isolation(self) -> Isolation:
        """Always a schema: an own database is for a template that asks for one."""
        return "schema"

    @property
    def version(self) -> str:
        """What the contents are, in short: a slot made from other contents is not handed out."""
        return digest(self.sql.encode())


@dataclass(frozen=True, slots=True)
class Scripts:
    """A folder of ``.sql`` files; ``timeout`` bounds all of them together."""

    name: str
    files: tuple[Path, ...]
    timeout: timedelta = DEFAULT_TIMEOUT
    isolation: Isolation = "schema"

    @property
    def version(self) -> str:
        """What the files hold now, in short; reads them."""
        parts = (part for path in self.files for part in (path.name.encode(), path.read_bytes()))
        return digest(self.isolation.encode(), *parts)


@dataclass(frozen=True, slots=True)
class Command:
    """A program that fills the schema, started without a shell in ``cwd`` with the sandbox's environment."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    timeout: timedelta
    isolation: Isolation = "schema"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What some sandbox held when it was copied: written by nobody we trust, run with the sandbox's rights only."""

    name: str
    folder: Path
    version: str
    isolation: Isolation = "schema"
    timeout: timedelta = DEFAULT_TIMEOUT


Template = BuiltIn | Scripts | Command | Snapshot
Poolable = BuiltIn | Scripts | Snapshot
"""What has a version: a slot made from another one is not handed out."""


def is_pooled(template: Template | None) -> TypeGuard[Poolable]:
    """Say whether slots of a template may be kept: its contents are known, and it asks for no own database."""
    return isinstance(template, (BuiltIn, Scripts, Snapshot)) and template.isolation == "schema"


def digest(*parts: bytes) -> str:
    """Return a short name of exactly these parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]
