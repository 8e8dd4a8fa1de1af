"""The steps of an export's life: each one transaction with its ledger entry and its event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.data.exports import store
from valhalla.features.data.exports.contracts import LIFECYCLE, Export, Status
from valhalla.features.data.exports.tables import export_jobs
from valhalla.kernel.clock import Clock
from valhalla.kit import lifecycle
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit

KIND: Final = "export"
_TOLD: Final = ("id", "source", "format", "status", "actor", "rows", "written", "estimate")


class Life:
    """Takes exports through their life."""

    def __init__(self, ledger: Ledger, *, clock: Clock, kept: timedelta) -> None:
        """``kept``: how long files are kept from their completion on."""
        self._ledger = ledger
        self._clock = clock
        self._kept = kept

    def begin(self, conn: Connection, export: Export, actor: str) -> None:
        """Write down that it was asked for."""
        self.note(
            conn,
            actor,
            "requested",
            export.id,
            source=export.source,
            format=export.format,
            profile=export.profile,
            conditions=list(export.conditions),
            reason=export.reason,
        )
        self.tell(conn, export, "export.requested")

    def run(self, conn: Connection, id_: str) -> Export | None:
        """Let one that waits run; one that runs already is returned as it is, None if it is over."""
        found = store.find(conn, id_, lock=True)
        if found is None or found.status not in ("pending", "running"):
            return None
        if found.status == "running":
            return found
        now = self._clock.now()
        return self._take(conn, found, "running", found.actor, {"started_at": now, "seen_at": now})

    def complete(
        self, conn: Connection, export: Export, manifest: Mapping[str, Any], digest: str, **values: Any
    ) -> Export:
        """Note that all files are where they belong; an export that was ended meanwhile stays as it is."""
        now = self._clock.now()
        expires = None if export.expires_at is None else now + self._kept
        values |= {"manifest": dict(manifest), "finished_at": now, "expires_at": expires}
        details = {"rows": manifest["rows"], "bytes": manifest["bytes"], "manifest_sha256": digest}
        return self._take(conn, export, "completed", export.actor, values, details)

    def end(self, conn: Connection, id_: str, to: Status, actor: str, error: Mapping[str, Any] | None = None) -> Export:
        """End one without files.

        Raises:
            NotFound, IllegalTransition: there is none, or it is over.
        """
        found = store.find(conn, id_, lock=True)
        now = self._clock.now()
        values = {"finished_at": now, "removed_at": now, "error": None if error is None else dict(error)}
        step = {} if error is None else {"error": error.get("code")}
        return self._take(conn, found or id_, to, actor, values, step)

    def remove(self, conn: Connection, export: Export, actor: str) -> None:
        """Note that the files are gone."""
        store.removed(conn, export.id, self._clock.now())
        self.note(conn, actor, "files_removed", export.id, files=len(export.files), rows=export.rows)

    def note(self, conn: Connection, actor: str, action: str, subject: str, **details: Any) -> None:
        """Write an entry in the ledger."""
        told = {name: value for name, value in details.items() if value is not None}
        self._ledger.append(conn, actor=actor, action=action, kind=KIND, subject=subject, details=told)

    def tell(self, conn: Connection, export: Export, kind: str) -> None:
        """Say how it is to whoever follows."""
        data = {name: getattr(export, name) for name in _TOLD}
        data |= {"eta": export.eta(), "error": export.error}
        emit(conn, subject=f"export.{export.id}", type=kind, data=data)

    def _take(
        self,
        conn: Connection,
        export: Export | str,
        to: Status,
        actor: str,
        values: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
    ) -> Export:
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            export_jobs,
            key=export if isinstance(export, str) else export.id,
            to=to,
            ledger=self._ledger,
            actor=actor,
            kind=KIND,
            values=values,
            details=details or {},
        )
        after = store.read(row)
        self.tell(conn, after, f"export.{to}")
        return after

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self._clock.now()
