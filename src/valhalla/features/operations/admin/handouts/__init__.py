"""Secrets that an action makes: handed to who asked for it, once, and written nowhere in the clear."""

from valhalla.features.operations.admin.handouts.service import Handouts

__all__ = ["Handouts"]
