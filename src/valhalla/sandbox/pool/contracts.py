"""The frozen values of the pool."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many slots to keep of which templates.

    ``size`` is the floor per template; the target grows to what was claimed in the last ten seconds, up to ``most``.
    ``rate`` bounds the building per second, so that the files of new slots never pile up for one checkpoint; ``rush``
    does so while callers wait. See ``pace``.
    """

    templates: tuple[str, ...] = ("community",)
    size: int = 8
    most: int = 1000
    rate: float = 40.0
    rush: float = 120.0
    batch: int = 10
    oldest: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Level:
    """How full the pool of one template is, seen from one process: ``ready`` slots are free or its own."""

    target: int
    ready: int
    building: int
