"""The one secret of an installation; every other credential is derived from it, so none of them is stored.

HKDF would do as well; HMAC-SHA256 over an unambiguous encoding of the purpose is the extract-and-expand step that
fits in one block (RFC 5869 with a uniformly random input key).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from valhalla.kernel.problems import Misconfigured


class CellKey:
    """32 secret bytes and what derives from them. Never printed, never logged."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise Misconfigured("the cell key must be 32 bytes", setting="cell_key")
        self._key = key

    def __repr__(self) -> str:
        return "CellKey(***)"

    def derive(self, purpose: str, *parts: str) -> bytes:
        """Return 32 bytes for one purpose; different (purpose, parts) never collide."""
        message = b"".join(len(p).to_bytes(4, "big") + p for p in (s.encode() for s in (purpose, *parts)))
        return hmac.digest(self._key, message, hashlib.sha256)

    def password(self, purpose: str, *parts: str) -> str:
        """Return a URL- and shell-safe password of 43 characters (256 bits)."""
        return base64.urlsafe_b64encode(self.derive(purpose, *parts)).decode().rstrip("=")

    @property
    def cell(self) -> str:
        """A public short name of this installation (6 characters); marks what it owns in shared backends."""
        return base64.b32encode(self.derive("cell.name"))[:6].decode().lower()

    @classmethod
    def parse(cls, text: str) -> CellKey:
        """Read the base64 form.

        Raises:
            Misconfigured: the text is not base64 of 32 bytes.
        """
        try:
            return cls(base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4)))
        except ValueError as error:
            raise Misconfigured("the cell key is not base64 of 32 bytes", setting="cell_key") from error

    @classmethod
    def load_or_create(cls, path: Path) -> CellKey:
        """Read the key file, or make one with mode 0600; two processes that race end up with the same key."""
        if not path.exists():
            text = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            staged = path.with_name(f"{path.name}.{os.getpid()}")
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(text + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                # link() fails when the name exists, so the first writer wins and both read the same file
                with contextlib.suppress(FileExistsError):
                    os.link(staged, path)
            finally:
                staged.unlink(missing_ok=True)
        if path.stat().st_mode & 0o077:
            raise Misconfigured(f"{path} can be read by others", help=f"Run: chmod 600 {path}", setting="cell_key")
        return cls.parse(path.read_text())
