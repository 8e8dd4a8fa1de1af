"""The same calls to two servers, and their answers made comparable: numbers and times become words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx
from tests.server.crowdsec.debian import MACHINE

_DURATION: Final = re.compile(r"-?(\d+h)?(\d+m)?\d+(\.\d+)?(s|ms|µs|ns)")
_COUNTED: Final = ("new", "deleted")


class Answer(NamedTuple):
    """What came, made comparable."""

    status: int
    body: Any


class Caller:
    """Asks one server; ``log_in`` first for what agents do."""

    def __init__(self, client: httpx.AsyncClient, key: str, password: str) -> None:
        self._client = client
        self._key, self._password = key, password
        self._token = ""
        self.answers: dict[str, Answer] = {}

    async def log_in(self) -> None:
        """Take a token."""
        answer = await self._client.post(
            "/v1/watchers/login", json={"machine_id": MACHINE, "password": self._password, "scenarios": ["a/b"]}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"code", "expire", "token"}
        self._token = answer.json()["token"]

    async def bouncer(self, name: str, path: str, method: str = "GET", **query: Any) -> httpx.Response:
        """Ask as a bouncer."""
        return await self._ask(name, method, path, {"X-Api-Key": self._key}, query)

    async def agent(self, name: str, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Ask as an agent."""
        return await self._ask(name, method, path, {"Authorization": f"Bearer {self._token}"}, query, body)

    async def _ask(
        self, name: str, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, Any], body: Any = None
    ) -> httpx.Response:
        given: dict[str, Any] = {} if body is None else {"json": body}
        headers = {**headers, "User-Agent": "oracle/v1.0"}
        answer = await self._client.request(method, path, params=query, headers=headers, **given)
        try:
            document = answer.json() if answer.content else ""
        except ValueError:
            document = answer.text
        assert name not in self.answers, name
        self.answers[name] = Answer(answer.status_code, plain(document))
        return answer


def plain(value: Any, name: str = "") -> Any:
    """Return an answer in which only what both servers must agree on is left."""
    if isinstance(value, dict):
        found = {each: plain(member, each) for each, member in sorted(value.items())}
        return {each: found[each] or [] if each in _COUNTED else found[each] for each in found}
    if isinstance(value, list):
        return sorted((plain(member, name) for member in value), key=repr)
    if name == "" and isinstance(value, str) and value.isdecimal():
        # what alerts were given, which are counted by each server
        return "<number>"
    if name in ("id", "uuid", "machine_id") or name.endswith("_at") or name in ("token", "expire"):
        return f"<{type(value).__name__}>"
    if name == "duration":
        return _hours(str(value))
    return value


def _hours(text: str) -> str:
    assert _DURATION.fullmatch(text), text
    if text.startswith("-"):
        return "ended"
    hours, minutes = (int(found[1]) if (found := re.search(rf"(\d+){unit}(?!s)", text)) else 0 for unit in "hm")
    return f"about {round(hours + minutes / 60, 1)} hours"


def alert(*decisions: Mapping[str, Any], value: str = "192.0.2.9", **members: Any) -> dict[str, Any]:
    """Return an alert as crowdsec's agents write them."""
    at = datetime.now(UTC)
    return {
        "scenario": "crowdsecurity/ssh-bf", "scenario_hash": "abc", "scenario_version": "0.1", "message": "m",
        "events_count": 6, "capacity": 5, "leakspeed": "10s", "simulated": False,
        "start_at": (at - timedelta(seconds=9)).isoformat(), "stop_at": at.isoformat(),
        "events": [{"timestamp": at.isoformat(), "meta": [{"key": "service", "value": "ssh"}]}],
        "source": {"scope": "Ip", "value": value, "ip": value},
        "decisions": list(decisions),
        **members,
    }  # fmt: skip


def ban(value: str, scope: str = "Ip", **members: Any) -> dict[str, Any]:
    """Return a decision."""
    common = {"origin": "cscli", "type": "ban", "duration": "4h10m", "scenario": "crowdsecurity/ssh-bf"}
    return {**common, "scope": scope, "value": value, **members}
