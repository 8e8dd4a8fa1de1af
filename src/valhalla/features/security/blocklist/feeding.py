"""What others decide becomes rules: many in one transaction, told of one by one only while they are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import guards, store
from valhalla.features.security.blocklist.contracts import BlockRule, Facts
from valhalla.features.security.blocklist.errors import LocksYouOut, TooBroad
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.rules import stronger
from valhalla.features.security.blocklist.service import tell
from valhalla.kit.registry import Change, Delete, Put, Registry

# of more rules at once only who wrote them tells: history and ledger have each
_TOLD: Final = 20


class Feeding:
    """Writes of many rules, in transactions of whoever asks; what stands is never shortened."""

    def __init__(
        self,
        many: Registry[BlockRule],
        keeper: Keeper,
        asking: Callable[[], Facts | None],
        now: Callable[[], datetime],
    ) -> None:
        self._many = many
        self._keeper = keeper
        self._asking = asking
        self._now = now

    def lock(self, conn: Connection) -> None:
        """Take the lock that all who write rules take before anything else."""
        self._many.lock(conn)

    def may(self, rule: BlockRule) -> bool:
        """Say whether a rule neither blocks (nearly) everybody nor who asks."""
        try:
            guards.check_put(rule, self._asking(), self._keeper.index, self._now().timestamp())
        except (TooBroad, LocksYouOut):
            return False
        return True

    def add(
        self, conn: Connection, wanted: Mapping[str, BlockRule], *, actor: str, reason: str | None
    ) -> Sequence[Change]:
        """Block by rules in their one form, by their keys; return what changed."""
        if not wanted:
            return ()
        there = {key: self._many.decode(key, body) for key, body in store.standing(conn, list(wanted)).items()}
        puts = [Put(key, stronger(there[key], rule) if key in there else rule) for key, rule in wanted.items()]
        written = [change for change in self._many.bulk(conn, puts, actor=actor, reason=reason) if change.changed]
        if len(written) <= _TOLD:
            for change in written:
                rule = self._many.decode(change.key, change.after or {})
                tell(conn, "block.added" if change.before is None else "block.changed", change.key, rule, actor)
        return written

    def end(self, conn: Connection, keys: Sequence[str], *, actor: str, reason: str | None) -> int:
        """End rules by their keys; return how many there were."""
        self.lock(conn)
        there = sorted(store.standing(conn, keys))
        changes = self._many.bulk(conn, [Delete(key) for key in there], actor=actor, reason=reason)
        for change in changes[:_TOLD]:
            tell(conn, "block.removed", change.key, self._many.decode(change.key, change.before or {}), actor)
        return len(changes)
