"""A Celery application whose worker is killed in the middle of its first task. Run by ``test_celery_killed``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals

from valhalla.guard import Guard
from valhalla.guard.integrations.celery import guarded_task
from valhalla.guard.stores.sqlite import SqliteStore

FOLDER = Path(os.environ.get("DOOMED_FOLDER", "."))
URL = os.environ.get("DOOMED_BROKER", "")
LEASE = 1.0
# all keys of the broker in one slot
TAG = f"{{{FOLDER.name}}}"

app = Celery("doomed", broker=URL, backend=URL, set_as_current=False)
app.conf.update(
    # what a dead worker had not acknowledged comes again after so many seconds, and is looked for as often: else a
    # worker that starts sooner looks again after a hundred seconds
    broker_transport_options={
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "polling_interval": 0.1,
        "global_keyprefix": TAG,
    },
    result_backend_transport_options={"global_keyprefix": TAG},
    broker_connection_retry_on_startup=True,
    task_default_queue=FOLDER.name,
    worker_prefetch_multiplier=1,
)
guard = Guard(SqliteStore(FOLDER / "guard.db"), patience=0.0)


def die(where: str) -> None:
    """Kill this worker, if it is the first one and this is where it is to die."""
    if os.environ.get("DOOMED_AT") == where:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


def pay(order: str) -> str:
    die("before the effect")
    with (FOLDER / "paid").open("a") as book:
        book.write(f"{order}\n")
    die("after the effect")
    return f"receipt-{order}"


def task(name: str, effect: str) -> Any:
    action = guard.action(name, key="order", effect=effect, lease=LEASE, heartbeat=False)(pay)
    return guarded_task(app, guard, action, name=name, poll=0.5)


irreversible = task("irreversible", "irreversible")
idempotent = task("idempotent", "idempotent")


@signals.task_success.connect
def _done(**_: Any) -> None:
    # the action is finished, its message is not yet acknowledged
    die("before the acknowledgement")
