"""Decoys and policies at the gate: when they are asked, what they may do, and what they hear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.gate.driving import ask, hello, scope

from valhalla.gate import Bounds, Gate, Hooks
from valhalla.gate.rules import networks
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Problem

CALLER = Principal("k1", "team-a", frozenset())


class Decoys:
    """One decoy path, and one that is merely noted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    def find(self, path: str, query: bytes) -> Any:
        return path if path in ("/.env", "/canary") else None

    def touched(
        self, found: Any, method: str, path: str, headers: Mapping[bytes, bytes], address: str | None
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes] | None:
        self.seen.append((found, address))
        return None if found == "/canary" else (200, ((b"content-type", b"text/plain"),), b"SECRET=1")


class Blocklist:
    """One address is not let in."""

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        return Forbidden("blocked") if address == "203.0.113.9" else None

    def verdict(
        self, method: str, path: str, address: str | None, principal: Any, headers: Any, *, proxied: bool
    ) -> Problem | None:
        return self.refusal(method, path, address, principal)


class Policies:
    """Refuses one path."""

    def __init__(self) -> None:
        self.judged: list[tuple[str, str | None]] = []
        self.heard: list[tuple[str | None, int, bool, bool]] = []

    def judge(
        self,
        method: str,
        path: str,
        route: str,
        query: bytes,
        headers: Mapping[bytes, bytes],
        address: str | None,
        principal: Principal | None,
    ) -> Problem | None:
        self.judged.append((path, None if principal is None else principal.id))
        return Forbidden("a policy") if path == "/shut" else None

    def answered(self, address: str | None, route: str, status: int, *, has_key: bool, is_known: bool) -> None:
        self.heard.append((address, status, has_key, is_known))


def gate(**hooks: Any) -> Gate:
    bounds = Bounds(trusted=networks(["192.0.2.0/24"]))
    known: Any = lambda key, _address: CALLER if key == "good" else None  # noqa: E731
    return Gate(hello, Hooks(authenticate=known, is_public=lambda path: path == "/open", **hooks), bounds)


async def test_a_decoy_answers_before_anybody_asks_for_a_key() -> None:
    decoys = Decoys()
    app = gate(decoys=decoys)
    answer = await ask(app, scope("/.env", headers={"X-Forwarded-For": "203.0.113.7"}))
    assert (answer.status, answer.body) == (200, b"SECRET=1")
    assert "x-correlation-id" in answer.headers
    assert (await ask(app, scope("/canary"))).status == 401
    assert (await ask(app, scope("/else"))).status == 401
    assert decoys.seen == [("/.env", "203.0.113.7"), ("/canary", "192.0.2.1")]


async def test_who_is_blocked_touches_no_decoys() -> None:
    decoys = Decoys()
    app = gate(decoys=decoys, blocklist=Blocklist())
    assert (await ask(app, scope("/.env", headers={"X-Forwarded-For": "203.0.113.9"}))).status == 403
    assert decoys.seen == []


@pytest.mark.parametrize(
    ("path", "key", "status", "judged"),
    [
        ("/x", "good", 200, ("/x", "k1")),
        ("/shut", "good", 403, ("/shut", "k1")),
        ("/x", "bad", 401, ("/x", None)),
        ("/shut", None, 403, ("/shut", None)),
        ("/open", None, 200, ("/open", None)),
    ],
    ids=range(5),
)
async def test_policies_judge_whoever_asks_and_hear_what_became_of_it(
    path: str, key: str | None, status: int, judged: tuple[str, str | None]
) -> None:
    policies = Policies()
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    assert (await ask(gate(policies=policies), scope(path, headers=headers))).status == status
    assert policies.judged == [judged]
    heard = [] if status == 200 else [("192.0.2.1", status, key is not None, key == "good")]
    assert policies.heard == heard


async def test_a_policy_that_breaks_lets_nobody_pass() -> None:
    class Broken(Policies):
        def judge(self, *_: Any) -> Problem | None:
            raise RuntimeError("a mistake")

    assert (await ask(gate(policies=Broken()), scope("/x", headers={"Authorization": "Bearer good"}))).status == 500
