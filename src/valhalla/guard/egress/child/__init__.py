"""A sealed process: a program in a network of its own, from which doors lead to its endpoints and nowhere else."""

from __future__ import annotations

from valhalla.guard.egress.child.confined import Confined

__all__ = ["Confined"]
