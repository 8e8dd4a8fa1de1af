"""Legal holds and policies, as far as who tidies tables by itself must know of them: whether one names its table now.

Purges of the retention feature look at each row; a part that cannot do that stops tidying while somebody holds anything
in its table, or says how long it is kept, and leaves it to them.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from valhalla.kit.registry.tables import records

REGISTRY: Final = "legal_holds"
POLICIES: Final = "retention_policies"
EVERYTHING: Final = "*"


def is_ungoverned(category: str) -> sa.ColumnElement[bool]:
    """Return the condition that neither hold nor policy names ``category``, for the statement that deletes."""
    held = sa.and_(records.c.registry == REGISTRY, records.c.body["category"].astext.in_([category, EVERYTHING]))
    kept = sa.and_(records.c.registry == POLICIES, records.c.key == category)
    return ~sa.exists().where(sa.or_(held, kept))
