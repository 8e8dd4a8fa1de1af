"""Versioned records that govern behaviour, with their whole history."""

from valhalla.kit.registry.contracts import Change, Delete, Difference, Op, Put, Record, Search
from valhalla.kit.registry.registry import Registry

__all__ = ["Change", "Delete", "Difference", "Op", "Put", "Record", "Registry", "Search"]
