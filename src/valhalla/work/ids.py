"""Ids of jobs: like every id, and in the order of time, so that lists need no other index and inserts stay together."""

from __future__ import annotations

import secrets
import time
from typing import Final

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_HALF: Final = 36**8


def job_ids(count: int) -> list[str]:
    """Return fresh ids in ascending order: eight characters of milliseconds, eight that follow a random start."""
    stamp = _text(time.time_ns() // 1_000_000)
    first = secrets.randbelow(_HALF - count)
    return [stamp + _text(first + number) for number in range(count)]


def _text(number: int) -> str:
    text = ""
    for _ in range(8):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text
