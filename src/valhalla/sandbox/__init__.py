"""Disposable, enforced slices of real infrastructure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valhalla.sandbox.local import local as local


def __getattr__(name: str) -> Any:
    # on demand: the control plane imports this package too and needs no SQLite
    if name == "local":
        from importlib import import_module

        return import_module("valhalla.sandbox.local")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
