"""Who is asking: a client with an API key, a person, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from valhalla.kernel.problems import Forbidden
from valhalla.kernel.scopes import ADMIN


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. ``owner`` is whose sandboxes it makes and sees; scope ``admin`` allows everything.

    ``limits`` are the caller's own, such as ``100/minute``.
    """

    id: str
    owner: str
    scopes: frozenset[str]
    kind: Literal["client", "person", "system"] = "client"
    limits: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether the principal may act on everybody's things."""
        return ADMIN in self.scopes

    def allows(self, scope: str) -> bool:
        """Say whether ``scope`` is held; ``x:write`` includes ``x:read``, ``x:*`` all of an area."""
        if self.is_admin or scope in self.scopes:
            return True
        area, colon, verb = scope.partition(":")
        return bool(colon) and (f"{area}:*" in self.scopes or (verb == "read" and f"{area}:write" in self.scopes))

    def require(self, scope: str) -> None:
        """Accept or refuse.

        Raises:
            Forbidden: ``scope`` is not held.
        """
        if not self.allows(scope):
            raise Forbidden(f"this needs the scope '{scope}'", scope=scope)


SYSTEM: Final = Principal(id="system", owner="system", scopes=frozenset({ADMIN}), kind="system")
