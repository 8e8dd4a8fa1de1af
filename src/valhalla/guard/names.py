"""Action names and idempotency keys: which are accepted. Pure."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from valhalla.guard.errors import BadKey, BadName

_NAME: Final = re.compile(r"[a-z][a-z0-9_.:-]{0,99}")
MAX_KEY: Final = 512


def check_name(name: object) -> str:
    """Return ``name`` if it cannot be mistaken for another: no capitals, no blanks, no letters beyond ASCII.

    Raises:
        BadName: it can.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise BadName(f"{str(name)[:100]!a} is no valid action name")


def check_key(key: object) -> str:
    """Return ``key`` as text. Whole numbers and UUIDs are taken too.

    Raises:
        BadKey: it is empty, too long, not printable, or begins or ends with a blank.
    """
    if (type(key) is int) or isinstance(key, UUID):
        key = str(key)
    if not isinstance(key, str):
        raise BadKey(f"a key is text, not {type(key).__name__}")
    if not key:
        raise BadKey("the key is empty")
    if len(key) > MAX_KEY:
        raise BadKey(f"the key has {len(key)} characters; at most {MAX_KEY} are allowed")
    if not key.isprintable() or key != key.strip():
        raise BadKey("the key has blanks at its ends or characters that cannot be seen")
    return key
