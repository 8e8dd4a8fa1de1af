"""Audit events of files: opened for writing, renamed, removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress.rules import WRITING

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal


def _open(seal: Seal, args: tuple[Any, ...]) -> None:
    path, _, flags = args
    if isinstance(flags, int) and flags & WRITING and not isinstance(path, int) and path is not None:
        seal.change("write", _absolute(path))


def _path(what: str, *indexes: int, directory: int | None = None) -> Callable[[Seal, tuple[Any, ...]], None]:
    def check(seal: Seal, args: tuple[Any, ...]) -> None:
        at = args[directory] if directory is not None and len(args) > directory else -1
        for index in indexes:
            if not isinstance(args[index], int):
                seal.change(what, _absolute(args[index], at))

    return check


def _absolute(path: Any, directory: object = -1) -> str:
    name = os.fsdecode(path)
    if isinstance(directory, int) and directory >= 0 and not name.startswith(os.sep):
        try:
            name = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), name)  # noqa: PTH115, PTH118
        except OSError:
            return f"{name} (in an open directory)"
    return os.path.abspath(name)  # noqa: PTH100 - text, not the file system


CHECKS: Final[Mapping[str, Callable[[Seal, tuple[Any, ...]], None]]] = {
    "open": _open,
    "os.remove": _path("remove", 0, directory=1),
    "os.rmdir": _path("remove", 0, directory=1),
    "os.rename": _path("rename", 0, 1),
    "os.link": _path("link", 1),
    "os.truncate": _path("truncate", 0),
    "shutil.rmtree": _path("remove", 0),
}
