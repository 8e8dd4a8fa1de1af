"""Rows of a query into files, in a process of its own: flat memory, no lock held for long, resumable.

The parent (``process.copying``) sends a ``Plan`` and hears of every durable place; ``python -m valhalla.kit.copying``
is the child. The rows are read in pieces by their key, each in its own statement, so nothing waits for an export.
"""
