"""Signed checkpoints of the ledger over HTTP."""

from __future__ import annotations

import httpx
from tests.server.plane import Plane, refused

from valhalla.kit.notes import opened


async def test_a_checkpoint_is_signed_and_checked_again(plane: Plane, admin: httpx.AsyncClient) -> None:
    await plane.runtime.sealer.once()
    answer = (await admin.get("/system/audit/checkpoints", params={"limit": 1})).json()
    item = answer["items"][0]
    kept = opened(item["note"], answer["public_key"])
    assert (kept.origin, kept.size, kept.hash.hex()) == (answer["origin"], item["size"], item["hash"])
    right = {"size": kept.size, "hash": kept.hash.hex()}
    assert (await admin.get("/system/audit/verify", params=right)).json()["ok"] is True
    wrong = (await admin.get("/system/audit/verify", params={**right, "hash": "0" * 64})).json()
    assert (wrong["ok"], wrong["fault"]["kind"]) == (False, "altered")
    longer = (await admin.get("/system/audit/verify", params={**right, "size": 10**9})).json()
    assert longer["fault"]["kind"] == "truncated"
    refused(await admin.get("/system/audit/verify", params={"size": 1}), 422, "invalid-request")
    links = (await admin.get("/system/audit/export", params={"limit": 1})).json()
    assert (links["items"][0]["seq"], links["next"]) == (1, 1)
