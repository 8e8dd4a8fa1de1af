"""What agents do: log in, report alerts, take decisions back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import guards
from valhalla.features.security.blocklist.errors import LocksYouOut, TooBroad
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.making import stronger
from valhalla.features.security.blocklist.service import tell
from valhalla.features.security.blocklist.store import standing
from valhalla.features.security.blocklist.values import BlockRule, Facts
from valhalla.features.security.crowdsec import store
from valhalla.features.security.crowdsec.reports import Report
from valhalla.kernel.principal import Principal
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Change, Delete, Put, Registry

# of more rules at once only the sum is an event: history and ledger have each
_TOLD: Final = 20


class Agents:
    """The writes of agents; everything runs in the caller's transaction."""

    def __init__(
        self,
        registry: Registry[BlockRule],
        keeper: Keeper,
        asking: Callable[[], Facts | None],
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._keeper = keeper
        self._asking = asking
        self._now = now

    def report(self, conn: Connection, principal: Principal, machine: str, reports: Sequence[Report]) -> list[int]:
        """Keep alerts and block what they decide; return their numbers. What stands is never shortened."""
        # the lock comes first: all who write rules take it before anything else
        self._registry.lock(conn)
        facts, at = self._asking(), self._now()
        wanted: dict[str, BlockRule] = {}
        rows: list[dict[str, Any]] = []
        for report in reports:
            kept = {key: rule for key, rule in report.rules.items() if self._may(rule, facts, at)}
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
        there = {key: self._registry.decode(key, body) for key, body in standing(conn, list(wanted)).items()}
        puts = [Put(key, stronger(there[key], rule) if key in there else rule) for key, rule in wanted.items()]
        reason = f"reported by {machine}"
        changes = self._registry.bulk(conn, puts, actor=principal.id, reason=reason) if puts else []
        self._tell(conn, [change for change in changes if change.changed], principal, machine, reports)
        return numbers

    def take_back(self, conn: Connection, principal: Principal, keys: Sequence[str]) -> int:
        """End rules that an agent names; return how many there were."""
        self._registry.lock(conn)
        there = sorted(standing(conn, keys))
        changes = self._registry.bulk(
            conn, [Delete(key) for key in there], actor=principal.id, reason="taken back by an agent"
        )
        for change in changes[:_TOLD]:
            rule = self._registry.decode(change.key, change.before or {})
            tell(conn, "block.removed", change.key, rule, principal.id)
        return len(changes)

    def _may(self, rule: BlockRule, facts: Facts | None, at: datetime) -> bool:
        try:
            guards.check_put(rule, facts, self._keeper.index, at.timestamp())
        except (TooBroad, LocksYouOut):
            return False
        return True

    def _tell(
        self, conn: Connection, written: Sequence[Change], principal: Principal, machine: str, reports: Sequence[Report]
    ) -> None:
        if len(written) <= _TOLD:
            for change in written:
                rule = self._registry.decode(change.key, change.after or {})
                tell(conn, "block.added" if change.before is None else "block.changed", change.key, rule, principal.id)
        data: Mapping[str, Any] = {
            "machine": machine,
            "actor": principal.id,
            "alerts": len(reports),
            "decisions": len(written),
            "ignored": sum(report.ignored for report in reports),
            "scenarios": sorted({report.scenario for report in reports})[:5],
        }
        emit(conn, subject="block.crowdsec", type="block.reported", data=data)
