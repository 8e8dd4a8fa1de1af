"""What a feature stands on, and what it brings: the composition root knows every feature by these two alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.checks import Check
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import Sink
from valhalla.kit.settings import Settings
from valhalla.work import Jobs
from valhalla.work.loops import Loop
from valhalla.work.schedules import Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from valhalla.features.operations.admin.contracts import AdminAction

Run = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Platform:
    """The mechanisms of one control plane; nothing in it is connected while features are built."""

    settings: Settings
    cell: CellKey
    clock: Clock
    db: Database
    ledger: Ledger
    feed: Feed
    jobs: Jobs
    beat: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One check that a feature brings; ``timeout`` and ``cache`` in seconds, as of ``Checks.register``."""

    name: str
    check: Check
    help: str
    critical: bool = False
    timeout: float = 3.0
    cache: float = 0.0


class Feature:
    """One feature. Building it registers its registries and jobs; every hook is asked once, after that.

    A hook that raises stops the boot: no feature is left out silently.
    """

    name: ClassVar[str]

    def routers(self) -> Sequence[APIRouter]:
        """Return the routes; the web framework is imported here, not before."""
        return ()

    def background(self) -> Mapping[str, Run]:
        """Return what runs until it is told to stop, by the name of its task."""
        return {}

    def loops(self) -> Sequence[Loop]:
        """Return what of its background promises to beat; each calls ``Platform.beat`` with its loop's name."""
        return ()

    def readiness(self) -> Sequence[ReadinessCheck]:
        """Return what ``/ready`` and ``valhalla doctor`` ask besides the backends."""
        return ()

    def schedules(self) -> Sequence[Schedule]:
        """Return the timetable of its jobs."""
        return ()

    def sinks(self) -> Sequence[Sink]:
        """Return who is told every domain event, at least once and in order per subject."""
        return ()

    def collectors(self) -> Sequence[Collector]:
        """Return its metrics."""
        return ()

    def admin_actions(self) -> Sequence[AdminAction]:
        """Return what operators can do with it through ``/system/admin/actions``."""
        return ()

    def status(self) -> Mapping[str, Any]:
        """Return what ``/system/info`` says of it."""
        return {}

    async def start(self) -> None:
        """Do what must be done before the first request; stores are up to date and snapshots loaded."""

    def drain(self) -> None:
        """End what clients follow: the process is about to stop, and takes no new requests soon."""

    async def stop(self) -> None:
        """Give back what it holds; safe after a failed start."""
