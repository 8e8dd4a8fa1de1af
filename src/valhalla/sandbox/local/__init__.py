"""An isolated SQLite for a program that has no server: ``with valhalla.sandbox.local() as box: …``.

Only the standard library is imported. The module can be called: ``valhalla.sandbox.local(...)`` works whether
``valhalla.sandbox.local`` was imported as a module before or not.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from valhalla.sandbox.local.box import Box, BoxBusy, local
from valhalla.sandbox.local.contents import Contents, Seed

__all__ = ["Box", "BoxBusy", "Contents", "Seed", "local"]


class _Front(ModuleType):
    # The import system binds a submodule to its package under its own name, which here is also the function's.
    def __call__(self, *args: Any, **options: Any) -> Box:
        return local(*args, **options)


sys.modules[__name__].__class__ = _Front
