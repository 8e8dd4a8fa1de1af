"""Who may claim a key: what is asked, and what every kind of answer means."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from tests.sandbox.plane import Team

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.outgoing_guard import Reach
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.routing.errors import ClaimDenied, ClaimUnproven
from valhalla.sandbox.routing.proofs import Claimant, Proofs, Verdict

DEVELOPER = Principal("dev", "ada", frozenset({"sandbox:write"}))
ADMIN = Principal("root", "ops", frozenset({"admin"}))
ROUTE = Route("tenant", "acme")
HERE = Reach.of(["127.0.0.0/8"])


@dataclass
class Knower:
    """A webhook that knows whose keys are; ``answer`` is the status and body that it gives."""

    answer: tuple[int, bytes] = (200, b'{"allow": true}')
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        self.heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status, body = self.answer
        if status:
            writer.write(
                b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
            )
            writer.close()


@pytest.fixture
async def knower() -> AsyncGenerator[Knower]:
    made = Knower()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/may-claim"
    yield made
    server.close()


def known(claimant: Claimant) -> Verdict:
    """Named in a setting."""
    return claimant.key == claimant.owner or "not yours"


def slow(_: Claimant) -> Verdict:
    time.sleep(0.2)
    return True


async def asked(proofs: Proofs, principal: Principal = DEVELOPER, route: Route = ROUTE) -> str:
    try:
        await proofs.check(principal, "s" * 16, principal.owner, [route])
    except (ClaimDenied, ClaimUnproven) as problem:
        return problem.code
    finally:
        proofs.close()
    return "granted"


@pytest.mark.parametrize(
    ("rules", "principal", "expected"),
    [
        ({}, DEVELOPER, "granted"),
        ({"tenant": "nobody"}, ADMIN, "claim-denied"),
        ({"*": "nobody", "tenant": "anyone"}, DEVELOPER, "granted"),
        ({"*": "admin"}, DEVELOPER, "claim-denied"),
        ({"*": "admin"}, ADMIN, "granted"),
        ({"discord.guild": "nobody"}, DEVELOPER, "granted"),
        ({"tenant": f"{__name__}:known"}, DEVELOPER, "claim-denied"),
        ({"tenant": f"{__name__}:slow"}, DEVELOPER, "claim-unproven"),
    ],
    ids=["none", "nobody", "own-entry", "admin-only", "admin", "other-kind", "function", "time-out"],
)
async def test_rules(rules: dict[str, str], principal: Principal, expected: str) -> None:
    assert await asked(Proofs(rules, reach=HERE, seconds=0.1 if "slow" in str(rules) else 2), principal) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, b'{"allow": true}'), "granted"),
        ((200, b'{"allow": false, "reason": "not yours"}'), "claim-denied"),
        ((403, b""), "claim-denied"),
        ((200, b""), "claim-unproven"),
        ((200, b'{"allow": 1}'), "claim-unproven"),
        ((302, b""), "claim-unproven"),
        ((500, b'{"allow": true}'), "claim-unproven"),
        ((0, b""), "claim-unproven"),
    ],
    ids=["yes", "no", "forbidden", "nothing", "no-boolean", "redirect", "broken", "silent"],
)
async def test_answers_of_a_webhook(knower: Knower, answer: tuple[int, bytes], expected: str) -> None:
    """Only a clear yes is one."""
    knower.answer = answer
    proofs = Proofs({"tenant": knower.url}, reach=HERE, seconds=0.3 if not answer[0] else 5)
    assert await asked(proofs) == expected


async def test_what_a_webhook_is_told(knower: Knower) -> None:
    """Who wants what, signed as Standard Webhooks have it."""
    assert await asked(Proofs({"*": knower.url}, reach=HERE, secret="a secret of theirs")) == "granted"
    headers, body = knower.heard[0]
    assert json.loads(body) == {
        "type": "route.claim",
        "data": {
            "kind": "tenant",
            "key": "acme",
            "mode": "steal",
            "sample": 1.0,
            "owner": "ada",
            "principal": "dev",
            "is_admin": False,
            "sandbox": "s" * 16,
        },
    }
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(b"a secret of theirs", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"


@pytest.mark.parametrize(
    "rules",
    [
        {"tenant": "sometimes"},
        {"tenant": "no.such.module:f"},
        {"tenant": "json:nothing"},
        {"Not A Kind": "admin"},
        {"tenant": "http://127.0.0.1/x"},
    ],
    ids=["word", "module", "function", "kind", "private-address"],
)
def test_a_wrong_rule_stops_the_start(rules: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as caught:
        Proofs(rules, reach=Reach())
    assert caught.value.extra["setting"] == "route_proofs"


async def test_a_claim_that_is_denied_changes_nothing(runtime: Runtime, team: Team) -> None:
    """Neither by linking nor at a creation; what the sandbox has already is not asked about again."""
    key, service, before = f"k{secrets.token_hex(6)}", runtime.sandboxes, runtime.sandboxes.proof
    box = await team.new()
    await service.link(team.principal, box.id, "tenant", f"{key}-had")
    service.proof = Proofs({"*": "nobody"}, reach=HERE)
    try:
        with pytest.raises(ClaimDenied):
            await service.link(team.principal, box.id, "tenant", key)
        with pytest.raises(ClaimDenied):
            await team.new(routes=[("tenant", key)])
        await service.link(team.principal, box.id, "tenant", f"{key}-had")
    finally:
        service.proof = before
    assert [route.key for route in (await team.get(box.id)).routes] == [f"{key}-had"]
