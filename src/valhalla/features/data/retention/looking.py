"""What a purge would take: which policy holds for a category, up to which instant, and the rows before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.categories import Categories
from valhalla.features.data.retention.contracts import Category, Hold, Policy, Preview, Purge
from valhalla.features.data.retention.errors import NoPolicy, NotPurged
from valhalla.kernel.clock import Clock
from valhalla.kit.registry import Registry


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for a category: its policy, or without one its default, and its newest purge."""

    category: Category
    policy: Policy | None
    keep: timedelta | None
    last: Purge | None


class Looking:
    """Looks, and takes nothing. Every call is of the caller's transaction."""

    def __init__(
        self, categories: Categories, policies: Registry[Policy], holds: Registry[Hold], *, clock: Clock
    ) -> None:
        self.categories = categories
        self._policies = policies
        self._holds = holds
        self._clock = clock

    def standings(self, conn: Connection) -> list[Standing]:
        """Return every category with what holds for it, by name."""
        last = store.last(conn)
        policies = {record.key: record.value for record in self._policies.load(conn)[1]}
        return [
            Standing(one, policies.get(name), one.keep, last.get(name))
            for name, one in sorted(self.categories.all().items())
        ]

    def named(self, conn: Connection, name: str, days: int | None, keep_last: int | None) -> Preview:
        """Return what a purge would take, by the policy or by what is named.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, BadPolicy: there is nothing to look at.
        """
        category = self.open(name)
        if days is None and keep_last is None:
            return self.preview(conn, category, self.effective(conn, category))
        policy = Policy(name, days, keep_last)
        rules.check_policy(policy, self.categories.all())
        return self.preview(conn, category, policy)

    def open(self, name: str) -> Category:
        """Return a category of which something may be purged.

        Raises:
            UnknownCategory, NotPurged: there is none.
        """
        category = self.categories.get(name)
        if category.refused is not None:
            raise NotPurged(f"{name} is never purged: {category.refused}", category=name)
        return category

    def effective(self, conn: Connection, category: Category) -> Policy:
        """Return the policy that holds, which may be the category's default.

        Raises:
            NoPolicy: there is neither.
        """
        record = self._policies.find(conn, category.name)
        if record is not None:
            return record.value
        if category.keep is None:
            raise NoPolicy(f"nothing says how long {category.name} is kept", category=category.name)
        return Policy(category.name, enabled=True)

    def cutoff(self, conn: Connection, category: Category, policy: Policy) -> datetime | None:
        """Return the instant before which rows are old now, None if none are."""
        now = self._clock.now()
        if policy.days is None and policy.keep_last is None:
            assert category.keep is not None
            return rules.whole_days(now - category.keep) if category.partitioned else now - category.keep
        border = store.border(conn, category, policy.keep_last) if policy.keep_last else None
        return rules.cutoff_of(category, policy, now, border)

    def preview(self, conn: Connection, category: Category, policy: Policy) -> Preview:
        """Return what a purge by this policy would take now."""
        cutoff = self.cutoff(conn, category, policy)
        total, size = store.size(conn, category)
        if cutoff is None:
            return Preview(category.name, None, total, 0, 0, None, None, 0, exact=True)
        held = store.held(conn, self._holds, category).sql
        rows, kept, oldest, newest = store.count(conn, category, cutoff, held)
        total = max(total, rows + kept)
        taken = size * rows // total if total else 0
        return Preview(category.name, cutoff, total, rows, kept, oldest, newest, taken, exact=True)

    def by_timetable(self, conn: Connection, category: Category) -> Policy | None:
        """Return the policy that the timetable follows, None if nothing is purged by it."""
        record = self._policies.find(conn, category.name)
        if record is not None:
            return record.value if record.value.enabled else None
        return None if category.keep is None else Policy(category.name)
