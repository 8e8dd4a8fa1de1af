"""Calls that run all at once."""

from __future__ import annotations

import asyncio
from typing import Any


async def race(*calls: Any) -> tuple[list[Any], list[BaseException]]:
    """Run all at once; return the results and the refusals."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    good = [item for item in answers if not isinstance(item, BaseException)]
    return good, [item for item in answers if isinstance(item, BaseException)]
