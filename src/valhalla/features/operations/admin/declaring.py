"""What declarations of admin actions share: schemas of their arguments, and seeing one's own write."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from valhalla.features.operations.admin.contracts import Order, Run
from valhalla.kernel.problems import Unavailable

Settle = Callable[[], Awaitable[None]]
ID: Final = {"type": "string", "minLength": 1, "maxLength": 64}
NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}


def arguments(required: tuple[str, ...] = (), **properties: Any) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def settled(run: Run, settle: Settle) -> Run:
    """Let this process see its own write when the answer is given."""

    async def both(order: Order) -> Mapping[str, Any]:
        value = await run(order)
        with contextlib.suppress(Unavailable):
            await settle()
        return value

    return both
