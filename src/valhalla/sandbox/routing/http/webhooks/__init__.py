"""Webhooks of third parties, each on the lane of its key."""
