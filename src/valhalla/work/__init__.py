"""Background work over the control plane's Postgres: jobs by registered name, in the caller's transaction."""

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
