"""The beginning of a purge: its record, its job and the ledger's entry, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.retention import store
from valhalla.features.data.retention.contracts import Policy, Purge
from valhalla.features.data.retention.errors import AlreadyPurging
from valhalla.features.data.retention.purging import KIND
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kit.ledger import Ledger
from valhalla.kit.redact import text
from valhalla.work import Jobs, submit

JOB: Final = "valhalla.purge"
# what comes between the look and the purge is no reason to stop it
_SLACK: Final = 10_000


class Starting:
    """Starts purges."""

    def __init__(self, jobs: Jobs, ledger: Ledger, *, clock: Clock) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._clock = clock

    def start(
        self, conn: Connection, principal: Principal, policy: Policy, cutoff: datetime, rows: int, reason: str | None
    ) -> Purge:
        """Have a job take what is older than ``cutoff``, of which ``rows`` were seen.

        Raises:
            AlreadyPurging: a purge of the category has not ended.
        """
        id_ = new_id()
        job = submit(conn, self._jobs, JOB, {"purge": id_}, dedup_key=id_)
        made = store.insert(
            conn,
            {
                "id": id_,
                "category": policy.category,
                "status": "pending",
                "actor": principal.id,
                "reason": None if reason is None else text(reason),
                "cutoff": cutoff,
                "policy": msgspec.to_builtins(policy),
                "most": rows + rows // 10 + _SLACK,
                "job": job.id,
                "created_at": self._clock.now(),
            },
        )
        if made is None:
            # the job that was submitted above goes with this transaction
            raise AlreadyPurging(f"a purge of {policy.category} has not ended", category=policy.category)
        details = {"category": policy.category, "cutoff": cutoff.isoformat(), "expected": rows, "reason": reason}
        self._ledger.append(conn, actor=principal.id, action="purge_requested", kind=KIND, subject=id_, details=details)
        return made
