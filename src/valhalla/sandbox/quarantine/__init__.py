"""Quarantine: nobody enters a sandbox, and what is in it stays as it is."""

from valhalla.sandbox.quarantine.feature import Quarantine

__all__ = ["Quarantine"]
