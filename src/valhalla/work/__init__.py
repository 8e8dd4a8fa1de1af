"""Background work over the control plane's Postgres: jobs by registered name, in the caller's transaction."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from valhalla.work.context import JobCancelled, JobContext
    from valhalla.work.contracts import Ended, Job, Queue, Rate, Request, Retry, Submitted
    from valhalla.work.errors import BadArguments, NoSuchJob, NotReplayable, UnknownJob
    from valhalla.work.registry import Jobs
    from valhalla.work.submitting import cancel, read, replay, replay_many, submit, submit_many
    from valhalla.work.worker import Worker

__all__ = [
    "BadArguments",
    "Ended",
    "Job",
    "JobCancelled",
    "JobContext",
    "Jobs",
    "NoSuchJob",
    "NotReplayable",
    "Queue",
    "Rate",
    "Request",
    "Retry",
    "Submitted",
    "UnknownJob",
    "Worker",
    "cancel",
    "read",
    "replay",
    "replay_many",
    "submit",
    "submit_many",
]

_WHERE: Final = {
    "context": ("JobCancelled", "JobContext"),
    "contracts": ("Ended", "Job", "Queue", "Rate", "Request", "Retry", "Submitted"),
    "errors": ("BadArguments", "NoSuchJob", "NotReplayable", "UnknownJob"),
    "registry": ("Jobs",),
    "submitting": ("cancel", "read", "replay", "replay_many", "submit", "submit_many"),
    "worker": ("Worker",),
}
_FROM: Final = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> object:
    # a program that only wants the words of a job does not pay for a database
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
    return value
