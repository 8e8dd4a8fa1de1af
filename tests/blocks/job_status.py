"""What a worker says of a job."""

from __future__ import annotations

from valhalla import WorkerProcess


def status_of(worker: WorkerProcess, id_: str) -> str:
    """Return the state of a job that it knows."""
    record = worker.get_job_status(id_)
    assert record is not None
    return record["status"]
