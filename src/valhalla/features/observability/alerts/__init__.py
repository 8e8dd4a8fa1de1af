"""Alerts: what is worth a person's attention, grouped, told once, and followed until it is over."""
