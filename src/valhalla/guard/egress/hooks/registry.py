"""Which hooks are in place: none without an open seal, and only those of libraries that are imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType

from valhalla.guard.egress.hooks.importing import Finder
from valhalla.guard.egress.hooks.patching import Patches

Install = Callable[[Patches, ModuleType], None]


class Hooks:
    """The hooks of this process, counted by open seals: the first puts them in place, the last restores everything."""

    def __init__(self, handing: Install, libraries: Mapping[str, tuple[str, Install]]) -> None:
        """``handing`` hands the seal on to threads; ``libraries`` maps a module to its library's name and hooks."""
        self._handing = handing
        self._libraries = libraries
        self._lock = threading.RLock()
        self._seals = self._protocol_seals = 0
        self._threads = Patches()
        self._patches: dict[str, Patches] = {}
        self._unknown: set[str] = set()
        self._finder = Finder(libraries.keys(), self._imported)

    def acquire(self, *, protocol: bool) -> None:
        """Be in place from now on."""
        with self._lock:
            self._seals += 1
            if self._seals == 1:
                self._handing(self._threads, threading)
            if protocol:
                self._protocol_seals += 1
                if self._protocol_seals == 1:
                    sys.meta_path.insert(0, self._finder)
                    for name in self._libraries:
                        if _is_imported(name):
                            self._imported(name)

    def release(self, *, protocol: bool) -> None:
        """Be gone, unless another seal is open."""
        with self._lock:
            if protocol:
                self._protocol_seals -= 1
                if self._protocol_seals == 0:
                    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self._finder]
                    for patches in self._patches.values():
                        patches.undo()
                    self._patches.clear()
            self._seals -= 1
            if self._seals == 0:
                self._threads.undo()

    def described(self) -> str:
        """Say which libraries have their hooks in place."""
        with self._lock:
            names = sorted({self._libraries[module][0] for module in self._patches} - self._unknown)
            missing = f"; none on {', '.join(sorted(self._unknown))}, whose version is unknown" if self._unknown else ""
        return (f"hooks on {', '.join(names)}" if names else "no library with hooks is imported") + missing

    def _imported(self, name: str) -> None:
        with self._lock:
            if name in self._patches or self._protocol_seals == 0:
                return
            patches = self._patches[name] = Patches()
            try:
                self._libraries[name][1](patches, sys.modules[name])
            except AttributeError:
                # a version whose inside is different: better no hook than half of one
                patches.undo()
                self._unknown.add(self._libraries[name][0])


def _is_imported(name: str) -> bool:
    # a module that another thread is importing right now is not finished
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)
