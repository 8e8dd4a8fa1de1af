"""Requests with the members that most tests leave as they are."""

from __future__ import annotations

from typing import Any

from valhalla.guard.contracts import BeginRequest, CasRequest, Effect
from valhalla.kernel.ids import new_id

PRINT = bytes(range(128, 144))


def beginning(key: str | None = "k", **options: Any) -> BeginRequest:
    given: dict[str, Any] = {
        "id": new_id(),
        "name": "pay",
        "effect": Effect.IRREVERSIBLE,
        "key": key,
        "fingerprint": PRINT,
    }
    given |= {"principal": "ada", "tombstone": 60.0} | options
    return BeginRequest(**given | {"effect": Effect(given["effect"])})


def ending(id_: str, to: Any = "succeeded", **options: Any) -> CasRequest:
    given = {"id": id_, "sources": frozenset({"executing", "indeterminate"}), "to": to, "event": "finish"}
    return CasRequest(**given | {"actor": "ada", "generation": 1} | options)
