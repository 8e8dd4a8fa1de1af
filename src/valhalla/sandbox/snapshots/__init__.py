"""Copying what a sandbox holds into a template that others can start from.

A sandbox is asked with its own login, in one read-only transaction, for the definition of everything in its schema and
for its rows. The answers are texts that nobody but a later sandbox's own login ever runs, so it does not matter what
the one that is asked makes of the questions.
"""

from valhalla.sandbox.snapshots.service import SnapshotService

__all__ = ["SnapshotService"]
