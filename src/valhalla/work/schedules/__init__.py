"""Timetables of jobs: cron in a time zone, intervals, single instants."""

from valhalla.work.schedules.contracts import Cron, Every, Once, Schedule
from valhalla.work.schedules.rules import next_run, next_runs
from valhalla.work.schedules.service import pause, put, read, remove, run_now, tick
from valhalla.work.schedules.store import every
from valhalla.work.schedules.ticker import Ticker

__all__ = [
    "Cron",
    "Every",
    "Once",
    "Schedule",
    "Ticker",
    "every",
    "next_run",
    "next_runs",
    "pause",
    "put",
    "read",
    "remove",
    "run_now",
    "tick",
]
