"""Alerts: what is worth a person's attention, grouped, told once, and followed until it is over."""

from valhalla.features.observability.alerts.contracts import Alert, AlertRule, AlertSubscription, Limits, Silence
from valhalla.features.observability.alerts.feature import Alerts
from valhalla.features.observability.alerts.service import AlertService

__all__ = ["Alert", "AlertRule", "AlertService", "AlertSubscription", "Alerts", "Limits", "Silence"]
