"""What bouncers pull and agents report, in the words of CrowdSec's API."""

from __future__ import annotations

from typing import Any

import httpx


def values(decisions: list[dict[str, Any]]) -> set[str]:
    """Those of the addresses that these tests use."""
    mine = ("192.0.2.", "2001:db8:", "198.51.100.")
    return {one["value"] for one in decisions if one["value"].startswith(mine)}


async def pull(bouncer: httpx.AsyncClient, **query: Any) -> tuple[set[str], set[str]]:
    answer = await bouncer.get("/v1/decisions/stream", params={"startup": "false", **query})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"new", "deleted"}
    return values(answer.json()["new"]), values(answer.json()["deleted"])


def alert(*decisions: dict[str, Any], **members: Any) -> dict[str, Any]:
    common = {"scenario": "crowdsecurity/ssh-bf", "scenario_hash": "x", "scenario_version": "0.1", "message": "m"}
    counts = {"events_count": 6, "capacity": 5, "leakspeed": "10s", "simulated": False, "events": []}
    times = {"start_at": "2026-11-21T10:00:00Z", "stop_at": "2026-11-21T10:00:10Z"}
    source = {"source": {"scope": "Ip", "value": "192.0.2.9", "ip": "192.0.2.9"}}
    return {**common, **counts, **times, **source, "decisions": list(decisions), **members}


def ban(value: str, scope: str = "Ip", **members: Any) -> dict[str, Any]:
    common = {"origin": "crowdsec", "type": "ban", "duration": "4h", "scenario": "crowdsecurity/ssh-bf"}
    return {**common, "scope": scope, "value": value, **members}
