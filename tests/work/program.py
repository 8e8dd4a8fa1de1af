"""A user's program with jobs, for the worker command."""

from __future__ import annotations

import time

from valhalla.work import Jobs

jobs = Jobs()


@jobs.job("double")
def double(n: int) -> int:
    """Return twice the number."""
    return 2 * n


@jobs.job("hang")
def hang() -> None:
    """Never look at the context."""
    time.sleep(600)
