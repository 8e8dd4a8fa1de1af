"""A body that fails a few times, and attempts that follow quickly."""

from __future__ import annotations

from typing import Any

from tests.guard.faces import Face

from valhalla.guard import Retry, current

QUICK = Retry(3, base=0.001, cap=0.002)


def failing(face: Face, *errors: BaseException | type[BaseException]) -> Any:
    """Return a body that raises these one after the other and then returns."""

    def body(k: str = "1") -> str:
        face.ran.append(current().id)
        if len(face.ran) <= len(errors):
            raise errors[len(face.ran) - 1]
        return "done"

    return body
