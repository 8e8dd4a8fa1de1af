"""What people have decided about notifications, from the snapshots of their registries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from valhalla.features.data.notifications import checking
from valhalla.features.data.notifications.contracts import Channel, Rule, Template
from valhalla.features.data.notifications.rules import Watcher
from valhalla.features.observability.alerts.contracts import AlertSubscription
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Record, Registry

CHANNELS: Final = "notification_channels"
RULES: Final = "notification_rules"
TEMPLATES: Final = "notification_templates"
# alerts have subscriptions of their own, whose target is a channel here
_SUBSCRIPTIONS: Final = "alert_subscriptions"


class Policy:
    """The three registries and what is derived from each; reading a view costs an attribute."""

    def __init__(self, ledger: Ledger, feed: Feed) -> None:
        """Register and follow them."""
        self.channels = Registry(CHANNELS, Channel, ledger, validate=checking.check_channel)
        self.rules = Registry(RULES, Rule, ledger, validate=checking.check_rule)
        self.templates = Registry(TEMPLATES, Template, ledger, validate=checking.check_template)
        self._feed = feed
        for registry in (self.channels, self.rules, self.templates):
            feed.add(registry)
        self._watchers = feed.view(RULES, lambda snapshot: tuple(map(Watcher.of, _values(snapshot))))
        self._targets = feed.view(_SUBSCRIPTIONS, _targets)

    @property
    def watchers(self) -> Sequence[Watcher]:
        """The rules now, in the order of their names."""
        return self._watchers.value

    def targets(self, subscriptions: Iterable[str]) -> list[str]:
        """Return the channels that subscriptions to alerts name."""
        known = self._targets.value
        return [known[key] for key in subscriptions if key in known]

    def every_channel(self) -> Mapping[str, Record[Channel]]:
        """Return the channels of the snapshot by name."""
        return self._feed.snapshot(CHANNELS).records

    def channel(self, name: str) -> Channel | None:
        """Return a channel of the snapshot."""
        record = self.every_channel().get(name)
        return None if record is None else record.value

    def template(self, name: str) -> Template | None:
        """Return a template of the snapshot."""
        record: Record[Template] | None = self._feed.snapshot(TEMPLATES).records.get(name)
        return None if record is None else record.value

    def named_by(self, channel: str) -> list[str]:
        """Return what names a channel: rules, other channels, subscriptions to alerts."""
        found = [
            f"rule {each.rule.name}"
            for each in self.watchers
            if channel in each.rule.channels or channel == each.rule.fallback
        ]
        found += [f"channel {name}" for name, each in self.every_channel().items() if each.value.fallback == channel]
        found += [f"alert subscription {key}" for key, target in self._targets.value.items() if target == channel]
        return found

    async def settle(self) -> None:
        """Bring the snapshots up to date."""
        await self._feed.refresh()


def _values(snapshot: Snapshot[Any]) -> list[Any]:
    return [snapshot.records[key].value for key in sorted(snapshot.records)]


def _targets(snapshot: Snapshot[AlertSubscription]) -> dict[str, str]:
    return {
        key: record.value.target for key, record in sorted(snapshot.records.items()) if record.value.target is not None
    }
