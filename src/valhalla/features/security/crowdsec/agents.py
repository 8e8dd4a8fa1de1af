"""What agents do: report alerts, take decisions back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import BlockRule, Feeding
from valhalla.features.security.blocklist.rules import stronger
from valhalla.features.security.crowdsec.alerts import store
from valhalla.features.security.crowdsec.alerts.rules import Selected
from valhalla.features.security.crowdsec.reports import Report
from valhalla.kernel.principal import Principal
from valhalla.kit.outbox import emit

_AT_ONCE: Final = 1000


class Agents:
    """The writes of agents; everything runs in the caller's transaction."""

    def __init__(self, feeding: Feeding, now: Callable[[], datetime]) -> None:
        self._feeding = feeding
        self._now = now

    def report(self, conn: Connection, principal: Principal, machine: str, reports: Sequence[Report]) -> list[int]:
        """Keep alerts and block what they decide; return their numbers. What stands is never shortened."""
        self._feeding.lock(conn)
        at = self._now()
        wanted: dict[str, BlockRule] = {}
        rows: list[dict[str, Any]] = []
        for report in reports:
            kept = {key: rule for key, rule in report.rules.items() if self._feeding.may(rule)}
            for key, rule in kept.items():
                wanted[key] = stronger(wanted[key], rule) if key in wanted else rule
            rows.append(
                {
                    "created_at": at,
                    "client_id": principal.id,
                    "machine_id": machine,
                    "scenario": report.scenario,
                    "scope": report.scope,
                    "value": report.value,
                    "keys": list(kept),
                    "body": dict(report.body),
                }
            )
        numbers = store.add_alerts(conn, rows) if rows else []
        written = self._feeding.add(conn, wanted, actor=principal.id, reason=f"reported by {machine}")
        data: Mapping[str, Any] = {
            "machine": machine,
            "actor": principal.id,
            "alerts": len(reports),
            "decisions": len(written),
            "ignored": sum(report.ignored for report in reports),
            "scenarios": sorted({report.scenario for report in reports})[:5],
        }
        emit(conn, subject="block.crowdsec", type="block.reported", data=data)
        return numbers

    def take_back(self, conn: Connection, principal: Principal, keys: Sequence[str]) -> int:
        """End rules that an agent names; return how many there were."""
        return self._feeding.end(conn, keys, actor=principal.id, reason="taken back by an agent")

    def forget(self, conn: Connection, principal: Principal, wanted: Selected | int) -> int:
        """Remove alerts (those selected, or the one of a number) with what they blocked; return how many there were.

        What another alert also blocked stays, and so does what somebody else blocked before or for longer.
        """
        self._feeding.lock(conn)
        gone = store.drop_alerts(conn, wanted, self._now())
        keys = store.only_theirs(conn, gone)
        for begin in range(0, len(keys), _AT_ONCE):
            some = keys[begin : begin + _AT_ONCE]
            self._feeding.end(conn, some, actor=principal.id, reason="the alert was removed")
        return len(gone)
