"""An action that is held until people approve it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import Held


def refund(face: Face, **options: Any) -> Any:
    """Declare the action that most tests hold."""
    options = {"key": "order", "approval": "2 of finance", **options}
    return face.action("refund", lambda order, amount=1: face.ran.append((order, amount)) or "done", **options)


def held(face: Face, action: Any, *args: Any) -> str:
    """Call and return the id of the hold."""
    with pytest.raises(Held) as caught:
        face.call(action, *args)
    assert caught.value.id is not None
    return caught.value.id
