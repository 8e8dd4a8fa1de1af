"""The routes of this room: jobs, schedules, heartbeats."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter

from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.work import api
from valhalla.work.desk import JobDesk
from valhalla.work.heartbeats import api as heartbeats
from valhalla.work.heartbeats.desk import HeartbeatDesk
from valhalla.work.loops import Loop
from valhalla.work.registry import Jobs
from valhalla.work.schedules import api as schedules
from valhalla.work.schedules.desk import ScheduleDesk


def routers(db: Database, jobs: Jobs, ledger: Ledger, loops: Mapping[str, Loop]) -> tuple[APIRouter, ...]:
    """Return them over a control plane's database; ``jobs`` and ``loops`` are its own."""
    return (
        api.router(JobDesk(db, jobs, ledger)),
        schedules.router(ScheduleDesk(db, jobs, ledger), loops),
        heartbeats.router(HeartbeatDesk(db, ledger)),
    )
