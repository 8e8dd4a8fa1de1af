"""WorkerProcess: background jobs that start at once, say how far they are, and are not lost when the worker stops."""

import threading

from valhalla import WorkerProcess
from valhalla.blocks.errors import WorkerNotRunning
from valhalla.blocks.jobs import current_job


def export(rows: int, half_way: threading.Event, go_on: threading.Event) -> str:
    """Export, and tell how far it is."""
    job = current_job()
    assert job is not None
    for row in range(rows):
        job.check()
        job.progress((row + 1) / rows)
        if row + 1 == rows // 2:
            half_way.set()
            go_on.wait(10)
    return f"{rows} rows"


def main() -> None:
    """Tell the story."""
    half_way, go_on = threading.Event(), threading.Event()
    worker = WorkerProcess()
    worker.start()
    first = worker.submit_job("export", export, 10, half_way, go_on)
    second = worker.submit_job("mail", lambda: "sent")
    half_way.wait(10)
    for id_ in (first, second):
        record = worker.get_job_status(id_)
        assert record is not None
        print(record["name"], record["status"], record.get("progress", {}).get("fraction"))
    go_on.set()
    worker.stop()
    print("after the stop:", [record["result"] for record in worker.completed_jobs.values()])
    try:
        worker.submit_job("late", print)
    except WorkerNotRunning as refused:
        print(refused.detail)


if __name__ == "__main__":
    main()
