"""Every feature, in the order in which they start: the one place that lists them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform
from valhalla.features.data.exports import Exports
from valhalla.features.data.notifications import Notifications
from valhalla.features.data.retention import Retention
from valhalla.features.observability.alerts import Alerts
from valhalla.features.observability.failures import Failures
from valhalla.features.observability.health import Health
from valhalla.features.observability.logs import Logs
from valhalla.features.observability.stream import LiveEvents
from valhalla.features.observability.tracing import Tracing
from valhalla.features.operations.admin import Admin
from valhalla.features.operations.clients import Clients
from valhalla.features.operations.config import Configuration
from valhalla.features.operations.connected import Connected
from valhalla.features.operations.deployments import Deployments
from valhalla.features.operations.flags import Flags
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.maintenance import Maintenance
from valhalla.features.operations.routes import Routes
from valhalla.features.security.actions import Actions
from valhalla.features.security.blocklist import Blocklist
from valhalla.features.security.crowdsec import CrowdSec
from valhalla.features.security.dashboard import Dashboard
from valhalla.features.security.honeypots import Honeypots
from valhalla.features.security.policies import Policies, compile_rule
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Change


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
    deployments: Deployments
    routes: Routes
    admin: Admin
    events: LiveEvents
    logs: Logs
    tracing: Tracing
    blocklist: Blocklist
    crowdsec: CrowdSec
    policies: Policies
    actions: Actions
    honeypots: Honeypots
    dashboard: Dashboard
    exports: Exports
    retention: Retention
    notifications: Notifications
    connected: Connected

    @classmethod
    def build(cls, platform: Platform, *above: Feature) -> Catalogue:
        """Build every feature over the platform; nothing is connected yet.

        ``above`` are those of the rooms that stand on this one, such as the guard's.
        """
        clients, limits, flags = Clients(platform), RateLimits(platform), Flags(platform)
        admin, exports = Admin(platform), Exports(platform)
        blocklist, policies = Blocklist(platform), Policies(platform)
        alerts = Alerts(platform)
        blocklist.compile_with(compile_rule)
        policies.reactor.blocklist = blocklist.service
        honeypots, actions = Honeypots(platform, clients, policies), Actions(platform)
        return cls(
            above,
            clients=clients,
            limits=limits,
            maintenance=Maintenance(platform),
            alerts=alerts,
            health=Health(platform),
            failures=Failures(platform),
            flags=flags,
            config=Configuration(platform),
            deployments=_deployments(platform, flags),
            routes=Routes(platform, clients, limits),
            admin=admin,
            events=LiveEvents(platform, clients),
            logs=Logs(platform),
            tracing=Tracing(platform),
            blocklist=blocklist,
            crowdsec=CrowdSec(platform, blocklist, clients),
            policies=policies,
            actions=actions,
            honeypots=honeypots,
            dashboard=Dashboard(platform, alerts, policies, blocklist, honeypots, actions),
            exports=exports,
            retention=Retention(platform, exports, ask=admin.service.execute),
            notifications=Notifications(platform),
            connected=_connected(platform),
        )

    def __iter__(self) -> Iterator[Feature]:
        """Go through all of them in the order in which they start."""
        for field in fields(self):
            if field.name != "above":
                yield getattr(self, field.name)
        yield from self.above


def _connected(platform: Platform) -> Connected:
    """Hand on what other applications' gates decide by; keys that could not be used there stay here."""
    environment = platform.settings.environment
    return Connected(
        platform,
        {
            "api_clients": lambda client: client.active and client.environment == environment,
            "rate_limits": lambda rule: rule.enabled,
            "maintenance_state": lambda _: True,
            "maintenance_windows": lambda window: window.enabled,
        },
    )


def _deployments(platform: Platform, flags: Flags) -> Deployments:
    """Let what a failed smoke test changes be looked at as what the routes of flags and configuration change."""
    made = Deployments(platform)
    made.remedies.accept("flags", lambda conn, _principal, changes: flags.service.check_flags(conn, changes))
    made.remedies.accept("config", _keep_immutable)
    return made


def _keep_immutable(conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
    # faces load the web framework
    from valhalla.features.operations.config.face import keep_immutable

    keep_immutable(conn, principal, changes)
