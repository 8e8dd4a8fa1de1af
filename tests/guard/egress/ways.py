"""A way out of a sealed block: what is attempted, and whether it arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.guard.egress.world import World


@dataclass(frozen=True)
class Way:
    """``attempt`` is what the sealed block does, ``arrived`` whether it had its effect."""

    attempt: Callable[[], object]
    arrived: Callable[[], object]


def posts(world: World, attempt: Callable[[], object]) -> Way:
    before = world.web.posts
    return Way(attempt, lambda: world.web.posts > before)


def connects(world: World, attempt: Callable[[], object]) -> Way:
    before = world.web.connections
    return Way(attempt, lambda: world.web.connections > before)
