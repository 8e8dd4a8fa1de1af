"""Sessions in files, so that a process that comes after this one resumes them: nothing is lost in between."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.gateway.conversation import Session
from valhalla.sandbox.routing.discord.gateway.errors import ShardTaken

_log = get_logger("sandbox.routing.discord")


class _Kept(msgspec.Struct):
    session: str
    url: str
    stored: int


class Shelf:
    """Where the session of one shard is kept; while it is open no other process reads this shard."""

    def __init__(self, directory: Path, shard: int, shards: int) -> None:
        """Open it.

        Raises:
            ShardTaken: another process has it.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = directory / f"shard-{shard}-of-{shards}.json"
        self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ShardTaken(f"shard {shard} of {shards} is read by another process with {directory}") from None
        self._kept: _Kept | None = None

    def load(self) -> Session | None:
        """Return the session of whoever was here before, from behind what is stored of it."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return Session(kept.session, kept.url, kept.stored)

    def save(self, session: Session, stored: int) -> None:
        """Keep a session with what is stored of it; a full disk is told, it stops nothing."""
        kept = _Kept(session.id, session.url, stored)
        if kept == self._kept:
            return
        staged = self._path.with_suffix(".new")
        try:
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(kept))
            staged.replace(self._path)
            self._kept = kept
        except OSError as error:
            _log.warning("a session could not be kept", path=str(self._path), reason=error.strerror)

    def forget(self) -> None:
        """Drop a session that cannot be resumed."""
        self._kept = None
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other processes have the shard."""
        os.close(self._lock)
