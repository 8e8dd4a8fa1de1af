"""What a control plane repeats by itself, without a job: each says that it lives, under a name of its own."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from valhalla.work.heartbeats.heart import Times


class Beating(Protocol):
    """A part that calls ``beat`` whenever it has done a turn."""

    beat: Callable[[], None]


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One part; ``times`` are what it promises."""

    name: str
    times: Times
    what: str


def loop(name: str, interval: float, what: str, *, patience: float = 15.0) -> Loop:
    """Describe a part that beats every ``interval`` seconds; ``patience`` more than twice that, and it is missed."""
    return Loop(name=name, times=Times(interval=interval, timeout=2 * interval + patience), what=what)


def sources(loops: Iterable[Loop], place: str) -> Mapping[str, Loop]:
    """Return the loops by the names of their heartbeats: no two control planes beat for each other."""
    return {f"{one.name}.{place}": one for one in loops}


def place_of(directory: Path) -> str:
    """Name a control plane by its host and its data directory, the same at every start."""
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:6]
    return f"{host_label()}.{digest}"


def worker_source(target: str, name: str | None) -> str:
    """Name the heartbeat of a worker's process: by its name, or by what it runs, the same at every start."""
    last = name or hashlib.sha256(f"{Path.cwd()} {target}".encode()).hexdigest()[:6]
    return f"worker.{host_label()}.{last}"


def host_label() -> str:
    """Return the host's name as a token of a heartbeat's name."""
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()).strip("-_")[:63] or "host"
