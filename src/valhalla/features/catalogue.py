"""Every feature, in the order in which they start: the one place that lists them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from valhalla.features.contracts import Feature, Platform
from valhalla.features.observability.alerts import Alerts
from valhalla.features.observability.failures import Failures
from valhalla.features.observability.health import Health
from valhalla.features.observability.logs import Logs
from valhalla.features.observability.stream import LiveEvents
from valhalla.features.operations.clients import Clients
from valhalla.features.operations.config import Configuration
from valhalla.features.operations.flags import Flags
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.maintenance import Maintenance
from valhalla.features.operations.routes import Routes


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The features of one control plane, typed for who composes them further (the gate needs some of them)."""

    above: tuple[Feature, ...]
    clients: Clients
    limits: RateLimits
    maintenance: Maintenance
    alerts: Alerts
    health: Health
    failures: Failures
    flags: Flags
    config: Configuration
    routes: Routes
    events: LiveEvents
    logs: Logs

    @classmethod
    def build(cls, platform: Platform, *above: Feature) -> Catalogue:
        """Build every feature over the platform; nothing is connected yet.

        ``above`` are those of the rooms that stand on this one, such as the guard's.
        """
        clients, limits = Clients(platform), RateLimits(platform)
        return cls(
            above,
            clients=clients,
            limits=limits,
            maintenance=Maintenance(platform),
            alerts=Alerts(platform),
            health=Health(platform),
            failures=Failures(platform),
            flags=Flags(platform),
            config=Configuration(platform),
            routes=Routes(platform, clients, limits),
            events=LiveEvents(platform, clients),
            logs=Logs(platform),
        )

    def __iter__(self) -> Iterator[Feature]:
        """Go through all of them in the order in which they start."""
        for field in fields(self):
            if field.name != "above":
                yield getattr(self, field.name)
        yield from self.above
