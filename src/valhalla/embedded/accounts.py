"""Under which operating system account the servers run, and files that only it can read."""

from __future__ import annotations

import os
import pwd
import secrets
from dataclasses import dataclass
from pathlib import Path

from valhalla.kernel.problems import Misconfigured


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system."""

    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the account that servers run under, or ``None`` for our own.

    Postgres refuses root; as root every server runs as ``postgres`` where it exists, else as ``nobody``.

    Raises:
        Misconfigured: neither account exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise Misconfigured(
        "Postgres does not run as root, and there is no other account to run it",
        help="Run Valhalla as an ordinary user, or: useradd --system postgres",
        setting="data_dir",
    )


def data_folder(path: Path, account: Account | None) -> None:
    """Make the data directory (mode 0700), or let ``account`` pass through one that is root's alone (mode 0710)."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is None:
        return
    facts = path.stat()
    if facts.st_uid == 0 and facts.st_gid in (0, account.gid) and not facts.st_mode & 0o071:
        # only where its group had no right at all, so nobody else gains or loses one
        os.chown(path, -1, account.gid)
        path.chmod(facts.st_mode & 0o777 | 0o010)


def private_folder(path: Path, account: Account | None) -> None:
    """Make ``path`` (mode 0700) for ``account``; hand over everything in it when it had another owner.

    Raises:
        Misconfigured: it belongs to somebody else and we are not root.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    wanted = os.geteuid() if account is None else account.uid
    owner = path.stat().st_uid
    if owner == wanted:
        return
    if account is None:
        raise Misconfigured(
            f"{path} belongs to user {owner}, and this is user {wanted}",
            help=f"Run as the user who made it, or: chown -R {wanted} {path}",
            setting="data_dir",
        )
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            os.lchown(Path(folder, name), account.uid, account.gid)
    # last, so that a hand-over that was interrupted starts anew
    os.lchown(path, account.uid, account.gid)


def private_file(path: Path, text: str, account: Account | None) -> None:
    """Replace ``path`` by a file (mode 0600) that ``account`` owns; never through a link, never half written."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if account is not None:
                os.fchown(descriptor, account.uid, account.gid)
            file.write(text)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
