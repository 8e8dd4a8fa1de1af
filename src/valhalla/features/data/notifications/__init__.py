"""Notifications: channels, rules, templates, and deliveries that arrive."""

from valhalla.features.data.notifications.contracts import Channel, Delivery, Item, Rule, Template
from valhalla.features.data.notifications.feature import Notifications

__all__ = ["Channel", "Delivery", "Item", "Notifications", "Rule", "Template"]
