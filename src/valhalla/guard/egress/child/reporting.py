"""How a sealed Python program tells what it tried: one JSON line per attempt in a file, from any of its processes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from valhalla.guard.egress.contracts import Attempt, Layer

ENVIRONMENT: Final = "VALHALLA_SEAL"
# a program that tries for ever must not fill the disk
_MAX_REPORT: Final = 4 * 1024 * 1024


def write(path: str, attempt: Attempt) -> None:
    """Append one attempt; a short append is one step also for several processes."""
    line = json.dumps(attempt.document(), ensure_ascii=True).encode() + b"\n"
    # the program's own descriptors are its business: it may close all it finds
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size < _MAX_REPORT:
                os.write(descriptor, line)
        finally:
            os.close(descriptor)


def read(path: Path) -> Iterator[Attempt]:
    """Yield the attempts of a file; what a hostile program wrote there besides is left out."""
    for line in path.read_text(errors="replace").splitlines():
        try:
            one = json.loads(line)
            at = datetime.fromisoformat(str(one["at"]))
            verdict = "read" if one["verdict"] == "read" else "blocked"
            size = None if one["size"] is None else int(one["size"])
            what, where, excerpt = (str(one[name])[:1000] for name in ("what", "where", "excerpt"))
            yield Attempt(what, where, size, excerpt, Layer(one["layer"]), verdict, at)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
