"""What people have decided about alerts, from the snapshots of their registries."""

from __future__ import annotations

from typing import Any, Final

from valhalla.features.observability.alerts import rules
from valhalla.features.observability.alerts.contracts import AlertRule, AlertSubscription, Silence
from valhalla.features.observability.alerts.matching import Silences, check_matchers
from valhalla.features.observability.alerts.rules import RuleSet, Subscriptions
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Registry

RULES: Final = "alert_rules"
SUBSCRIPTIONS: Final = "alert_subscriptions"
SILENCES: Final = "alert_silences"


class Policy:
    """The three registries and what is derived from each; reading a view costs an attribute."""

    def __init__(self, ledger: Ledger, feed: Feed) -> None:
        """Register and follow them."""
        self.rules = Registry(RULES, AlertRule, ledger, validate=rules.check_rule)
        self.subscriptions = Registry(SUBSCRIPTIONS, AlertSubscription, ledger, validate=rules.check_subscription)
        self.silences = Registry(SILENCES, Silence, ledger, validate=lambda one: check_matchers(one.matchers))
        self._feed = feed
        for registry in (self.rules, self.subscriptions, self.silences):
            feed.add(registry)
        self._rules = feed.view(RULES, lambda snapshot: RuleSet(_values(snapshot).values()))
        self._subscriptions = feed.view(SUBSCRIPTIONS, lambda snapshot: Subscriptions(_values(snapshot)))
        self._silences = feed.view(SILENCES, lambda snapshot: Silences(_values(snapshot).values()))

    @property
    def ruleset(self) -> RuleSet:
        """The operator's rules now."""
        return self._rules.value

    @property
    def subscribed(self) -> Subscriptions:
        """Who wants to hear now."""
        return self._subscriptions.value

    @property
    def silenced(self) -> Silences:
        """What is silenced, now or at another time."""
        return self._silences.value

    def silence(self, silence_id: str) -> Silence | None:
        """Return a silence of the snapshot."""
        record = self._feed.snapshot(SILENCES).records.get(silence_id)
        return None if record is None else record.value

    def every_silence(self) -> list[Silence]:
        """Return all silences of the snapshot, the ones that end last first."""
        each = (record.value for record in self._feed.snapshot(SILENCES).records.values())
        return sorted(each, key=lambda one: (one.ends_at, one.id), reverse=True)


def _values(snapshot: Snapshot[Any]) -> dict[str, Any]:
    return {key: record.value for key, record in snapshot.records.items()}
