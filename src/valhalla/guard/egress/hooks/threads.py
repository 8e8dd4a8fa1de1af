"""Work that is handed to threads keeps its seal: a started thread for its life, a pool's worker for the task."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import TYPE_CHECKING, Any

from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import BLOCK, HELD, active, carried, held
from valhalla.guard.egress.hooks.patching import Patches

if TYPE_CHECKING:
    from types import ModuleType


def _start(original: Any) -> Any:
    @functools.wraps(original)
    def start(thread: Any) -> None:
        seal = carried()
        if seal is not None:
            # a thread of a held thread has inherited the kernel's filter
            mine, run = held(), thread.run

            def inside() -> None:
                BLOCK.set(seal)
                if mine is not None:
                    HELD[get_ident()] = mine
                try:
                    run()
                finally:
                    HELD.pop(get_ident(), None)

            thread.run = inside
        original(thread)

    return start


def _submit(original: Any) -> Any:
    @functools.wraps(original)
    def submit(pool: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        seal = carried()
        if seal is None:
            return original(pool, function, *args, **kwargs)
        mine = held()
        if mine is not None and mine.filtered and pool not in mine.executors:
            # its workers are outside of the kernel's filter, and a worker born here would stay inside for ever
            name = getattr(function, "__qualname__", type(function).__name__)
            seal.block("hand to a pool from outside", name, layer=Layer.KERNEL)

        def inside() -> Any:
            token = BLOCK.set(seal)
            try:
                return function(*args, **kwargs)
            finally:
                BLOCK.reset(token)

        # a worker that this call starts belongs to the pool, not to the seal
        token = BLOCK.set(None)
        try:
            return original(pool, inside)
        finally:
            BLOCK.reset(token)

    return submit


def _make(original: Any) -> Any:
    @functools.wraps(original)
    def make(pool: Any, *args: Any, **kwargs: Any) -> None:
        original(pool, *args, **kwargs)
        if (mine := held()) is not None:
            mine.executors.add(pool)

    return make


def _process(original: Any) -> Any:
    @functools.wraps(original)
    def submit(pool: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if (seal := active()) is not None:
            seal.effect("hand to another process", getattr(function, "__qualname__", type(function).__name__))
        return original(pool, function, *args, **kwargs)

    return submit


def handing(patches: Patches, module: ModuleType) -> None:
    """Hook threads and pools; ``module`` is ``threading``."""
    patches.replace(module.Thread, "start", _start)
    patches.replace(ThreadPoolExecutor, "__init__", _make)
    patches.replace(ThreadPoolExecutor, "submit", _submit)


def processes(patches: Patches, module: ModuleType) -> None:
    """Hook pools of processes; ``module`` is ``concurrent.futures.process``."""
    patches.replace(module.ProcessPoolExecutor, "submit", _process)
