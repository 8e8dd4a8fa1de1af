"""Legal holds, as far as who tidies tables by itself must know of them: whether one names its table now.

Purges of the retention feature look at each row; a part that cannot do that stops tidying while somebody holds anything
in its table, and leaves it to them.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from valhalla.kit.registry.tables import records

REGISTRY: Final = "legal_holds"
EVERYTHING: Final = "*"


def nothing_held(category: str) -> sa.ColumnElement[bool]:
    """Return the condition that no hold names ``category``, for the statement that deletes."""
    named = records.c.body["category"].astext.in_([category, EVERYTHING])
    return ~sa.exists().where(records.c.registry == REGISTRY, named)
