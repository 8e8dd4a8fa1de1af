"""A user's program with jobs, for the worker command."""

from __future__ import annotations

import logging
import time

from valhalla.work import Jobs

jobs = Jobs()
log = logging.getLogger("shop.doubling")


@jobs.job("double")
def double(n: int) -> int:
    """Return twice the number."""
    log.warning("doubling for postgresql://me:hunter22@db/x")
    return 2 * n


@jobs.job("hang")
def hang() -> None:
    """Never look at the context."""
    time.sleep(600)
