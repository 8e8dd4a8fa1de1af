"""NATS credentials are a file: this side writes it, mode 0600, and removes it when its sandbox has ended.

A file's modification time is set to its sandbox's expiry, so what has expired is known without asking.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path

from valhalla.cli.failures import Refusal
from valhalla.kernel.ids import is_id


def state_dir(data_dir: Path) -> Path:
    """Return where this side keeps files: in the data directory if there is one, else in the user's state."""
    if data_dir.is_dir() and os.access(data_dir, os.W_OK):
        return data_dir / "client"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "valhalla"


def path_for(data_dir: Path, sandbox_id: str) -> Path:
    """Return the credentials file of a sandbox.

    Raises:
        Refusal: the id is none, and could name a file elsewhere.
    """
    if not is_id(sandbox_id):
        raise Refusal("unexpected-answer", f"{sandbox_id!r} is no sandbox id")
    return state_dir(data_dir) / "creds" / f"{sandbox_id}.creds"


def save(data_dir: Path, sandbox_id: str, creds: str, expires_at: datetime | None) -> Path:
    """Write the credentials, replacing older ones in one step, and return the file."""
    path = path_for(data_dir, sandbox_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = path.with_suffix(f".{os.getpid()}")
    write_private(staged, creds)
    if expires_at is not None:
        os.utime(staged, (time.time(), expires_at.timestamp()))
    staged.replace(path)
    prune(path.parent)
    return path


def remove(data_dir: Path, sandbox_id: str) -> None:
    """Delete the credentials of a sandbox, if there are any."""
    path_for(data_dir, sandbox_id).unlink(missing_ok=True)


def prune(directory: Path) -> None:
    """Delete the credentials of sandboxes that have expired."""
    now = time.time()
    for path in directory.glob("*.creds"):
        # another process may prune at the same time
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < now:
                path.unlink()


@contextlib.contextmanager
def temporary(creds: str) -> Generator[Path]:
    """Keep the credentials in a file for as long as the block runs."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="valhalla-") as directory:
        path = Path(directory) / "nats.creds"
        write_private(path, creds)
        yield path


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, from its first moment on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
