"""Replacing a library's own methods for a while, and putting back exactly what was there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import active

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

Check = Callable[..., None]
Wrap = Callable[[Any], Any]
_ABSENT: Final = object()


def protocol() -> Seal | None:
    """Return the seal of this line of execution if it uses the protocol hooks."""
    seal = active()
    return seal if seal is not None and Layer.PROTOCOL in seal.layers else None


def before(check: Check) -> Wrap:
    """Return a wrapper that calls ``check(seal, *args, **kwargs)`` before the original, inside seals only."""

    def wrap(original: Any) -> Any:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def judged_async(*args: Any, **kwargs: Any) -> Any:
                if (seal := protocol()) is not None:
                    check(seal, *args, **kwargs)
                return await original(*args, **kwargs)

            return judged_async

        @functools.wraps(original)
        def judged(*args: Any, **kwargs: Any) -> Any:
            if (seal := protocol()) is not None:
                check(seal, *args, **kwargs)
            return original(*args, **kwargs)

        return judged

    return wrap


class Patches:
    """Replacements that are undone together."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, object, object]] = []

    def replace(self, owner: Any, name: str, wrap: Wrap) -> None:
        """Put ``wrap(original)`` in the place of ``owner.name``, which may be inherited.

        Raises:
            AttributeError: there is no such name.
        """
        members = cast("dict[str, Any]", vars(owner))
        original: Any = members.get(name, _ABSENT)
        found: Any = getattr(owner, name) if original is _ABSENT else original
        if isinstance(found, classmethod):
            ours = cast("Any", classmethod(wrap(cast("Any", found).__func__)))
        else:
            ours = wrap(found)
        setattr(owner, name, ours)
        self._undo.append((owner, name, original, ours))

    def undo(self) -> None:
        """Put back every original, newest first.

        What somebody else has wrapped since stays, with our part inside, which lets everything through.
        """
        while self._undo:
            owner, name, original, ours = self._undo.pop()
            if cast("dict[str, Any]", vars(owner)).get(name) is not ours:
                continue
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
