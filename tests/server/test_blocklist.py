"""The blocklist over HTTP: rules, who is refused, imports, and what nobody may do by mistake."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.blocklist import block, caller
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.service import REGISTRY
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database


async def test_a_rule_is_the_same_in_every_form_and_refuses_at_once(
    plane: Plane, admin: httpx.AsyncClient, rules: str
) -> None:
    made = await admin.post(rules, json={"type": "ip", "value": "::ffff:203.0.113.7", "reason": "guessing"})
    again = await admin.post(rules, json={"type": "cidr", "value": "203.0.113.7/32", "reason": "guessing"})

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["key"] == again.json()["key"] == "ip:203.0.113.7"
    assert made.json()["version"] == again.json()["version"]
    for address in ("203.0.113.7", "::ffff:203.0.113.7"):
        async with caller(plane, address) as client:
            problem = refused(await client.get("/system/info"), 403, "blocked")
            assert "203.0.113" not in str(problem)
            assert "guessing" not in str(problem)
            assert (await client.get("/live")).status_code == 200
    async with caller(plane, "203.0.113.8") as client:
        assert (await client.get("/system/info")).status_code == 401
    one = await admin.get(f"{rules}/ip:203.0.113.7")
    assert one.json()["hits"] == 2
    assert one.headers["etag"] == f'"{made.json()["version"]}"'
    assert (await admin.post(f"{rules}/unblock", json={"type": "ip", "value": "203.0.113.7"})).status_code == 200
    async with caller(plane, "203.0.113.7") as client:
        assert (await client.get("/system/info")).status_code == 401


async def test_every_type_is_enforced_and_what_is_allowed_passes(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, rules: str
) -> None:
    mine = await issue("bl-owner", "sandbox:read")
    other = await issue("bl-owner", "sandbox:read")
    async with (
        caller(plane, "198.51.100.9", mine["key"]) as by_key,
        caller(plane, "198.51.100.9", other["key"]) as by_other,
        caller(plane, "198.51.100.9", **{"User-Agent": "sqlmap/1.8 (https://sqlmap.org)"}) as scanner,
    ):
        await block(admin, "api_key", mine["id"])
        assert (await by_key.get("/system/info")).status_code == 403
        assert (await by_other.get("/system/info")).status_code == 200
        await block(admin, "principal", "bl-owner")
        assert (await by_other.get("/system/info")).status_code == 403
        await block(admin, "cidr", "198.51.100.0/28", action="allow")
        assert (await by_key.get("/system/info")).status_code == 200
        assert (await scanner.get("/system/info")).status_code == 401
        gone = await admin.delete(f"{rules}/allow:cidr:198.51.100.0/28")
        assert gone.status_code == 204
        await block(admin, "user_agent", "*SQLMap/*sqlmap.org*")
        assert (await scanner.get("/system/info")).status_code == 403
        await block(admin, "path", "/backdoor-*")
        assert (await scanner.get("/backdoor-7")).status_code == 403
    check = (await admin.post(f"{rules}/check", json={"path": "/backdoor-7"})).json()
    assert check["blocked"]
    assert check["by"].startswith("path:")


async def test_an_expired_rule_refuses_nobody_and_is_swept(plane: Plane, admin: httpx.AsyncClient, rules: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    await block(admin, "ip", "203.0.113.20", expires_at=soon.isoformat())
    async with caller(plane, "203.0.113.20") as client:
        assert (await client.get("/system/info")).status_code == 403
        for _ in range(100):
            if (await client.get("/system/info")).status_code == 401:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the rule still holds")
    await plane.runtime.features.blocklist._sweeper.sweep()  # pyright: ignore[reportPrivateUsage]
    assert (await admin.get(f"{rules}/ip:203.0.113.20")).status_code == 404
    history = (await admin.get(f"{rules}/ip:203.0.113.20/history")).json()["items"]
    assert [change["op"] for change in history] == ["delete", "put"]


async def test_nobody_locks_himself_or_everybody_out(plane: Plane, admin: httpx.AsyncClient, rules: str) -> None:
    for value in ("0.0.0.0/0", "::/0", "0.0.0.0/1", "2000::/3"):
        refused(await admin.post(rules, json={"type": "cidr", "value": value}), 422, "blocklist-too-broad")
    for type_, value in (("ip", "127.0.0.1"), ("cidr", "127.0.0.0/8"), ("principal", "admin"), ("path", "/system/*")):
        refused(await admin.post(rules, json={"type": type_, "value": value}), 409, "blocklist-locks-you-out")
    bulk = {"operations": [{"op": "put", "key": "ip:127.0.0.1", "value": {"type": "ip", "value": "127.0.0.1"}}]}
    refused(await admin.post(f"{rules}/bulk", json=bulk), 409, "blocklist-locks-you-out")
    refused(await admin.put(f"{rules}/ip:1.2.3.4", json={"type": "ip", "value": "1.2.3.5"}), 422, "blocklist-bad-rule")
    for value in ("10.0.0.1/8", "10.0.0.9-10.0.0.1", "10.0.0.1-10.0.0.3", "300.1.1.1", "fe80::1%eth0"):
        refused(await admin.post(rules, json={"type": "cidr", "value": value}), 422, "blocklist-bad-rule")
    assert (await admin.get(rules, params={"q": "0.0.0.0"})).json()["items"] == []

    everybody = await admin.post(rules, json={"type": "cidr", "value": "::/0"}, params={"confirm": True})
    assert everybody.status_code == 201
    async with caller(plane, "2001:db8::1") as client:
        assert (await client.get("/system/info")).status_code == 403


async def test_a_dry_run_says_whom_it_would_have_hit_and_changes_nothing(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, rules: str
) -> None:
    key = (await issue("bl-hit", "sandbox:read"))["key"]
    async with caller(plane, "192.0.2.33", key) as known, caller(plane, "192.0.2.34") as unknown:
        await known.get("/system/info")
        for _ in range(3):
            await unknown.get("/wp-admin")
    body = {"type": "cidr", "value": "192.0.2.32/28"}
    dry = (await admin.post(rules, json=body, params={"dry_run": True})).json()
    tried = (await admin.post(f"{rules}/test", json={"rules": [body]})).json()

    assert dry["dry_run"]
    for impact in (dry["impact"], tried):
        assert (impact["blocked"], impact["with_key"], impact["owners"]) == (4, 1, ["bl-hit"])
        assert impact["summary"].startswith("would have blocked 4 of the last ")
    assert (await admin.get(f"{rules}/cidr:192.0.2.32/28")).status_code == 404


async def test_lists_are_imported_in_three_forms_and_again_for_nothing(
    plane: Plane, admin: httpx.AsyncClient, rules: str
) -> None:
    plain = "# a list\n192.0.2.60\n192.0.2.64/26 ; a comment\n192.0.2.5-192.0.2.7\nnonsense\n10.0.0.0/8\n"
    how = {"source": "lists:plain", "severity": "error"}
    first = (await admin.post(f"{rules}/import", content=plain, params=how)).json()
    again = (await admin.post(f"{rules}/import", content=plain, params=how)).json()
    assert (first["format"], first["added"], first["rejected"]) == ("plain", 4, 2)
    assert {each["text"] for each in first["rejections"]} == {"nonsense", "10.0.0.0/8"}
    assert (again["added"], again["changed"], again["unchanged"], again["revision"]) == (0, 0, 4, None)

    table = "type,value,reason,duration\nip,192.0.2.70,scan,4h\nasn,AS64500,spam,\n"
    told = (await admin.post(f"{rules}/import", content=table, params={"source": "lists:csv"})).json()
    assert (told["format"], told["added"]) == ("csv", 2)
    decisions = '[{"decisions": [{"scope":"Ip","value":"192.0.2.60","type":"ban","duration":"3h59m59s","scenario":"x"},'
    decisions += '{"scope":"Range","value":"192.0.2.131/25","type":"captcha","duration":"-1m0s","scenario":"y"},'
    decisions += '{"scope":"Range","value":"192.0.2.131/25","type":"captcha","duration":"1m0s","scenario":"y"}]}]'
    told = (await admin.post(f"{rules}/import", content=decisions, params={"source": "cscli"})).json()
    assert (told["format"], told["added"], told["rejected"]) == ("crowdsec", 1, 1)
    # what another list blocks forever is not shortened
    assert (await admin.get(f"{rules}/ip:192.0.2.60")).json()["expires_at"] is None
    assert (await admin.get(f"{rules}/cidr:192.0.2.128/25")).json()["remediation"] == "captcha"

    fewer = (await admin.post(f"{rules}/import", content="192.0.2.60\n", params={**how, "replace": True})).json()
    assert (fewer["removed"], fewer["unchanged"]) == (3, 1)
    async with caller(plane, "192.0.2.65") as client:
        assert (await client.get("/system/info")).status_code == 401


async def test_blocking_again_never_shortens_or_weakens(plane: Plane, rules: str) -> None:
    service = plane.runtime.features.blocklist.service
    now = datetime.now(UTC)

    def blocking(hours: int | None, severity: Any, reason: str) -> Any:
        until = None if hours is None else now + timedelta(hours=hours)
        return plane.runtime.db.run(
            service.block,
            type="ip",
            value="192.0.2.200",
            reason=reason,
            source="honeypot",
            actor="test",
            severity=severity,
            expires_at=until,
        )

    first = await blocking(4, "critical", "decoy")
    weaker = await blocking(1, "info", "noise")
    longer = await blocking(24, "warning", "again")
    ended = await plane.runtime.db.run(service.unblock, type="ip", value="192.0.2.200", actor="test")
    nothing = await plane.runtime.db.run(service.unblock, type="ip", value="192.0.2.200", actor="test")

    assert [first.changed, weaker.changed, longer.changed] == [True, False, True]
    assert longer.after["reason"] == "again"
    assert longer.after["severity"] == "critical"
    assert ended is not None
    assert nothing is None


async def test_another_process_hears_of_it_without_asking(plane: Plane, admin: httpx.AsyncClient, rules: str) -> None:
    """A feed and a keeper of their own, as another process has them, which look by themselves once an hour."""
    db = Database(plane.runtime.db.dsn, pool_size=1)
    feed, keeper, stop = Feed(db, poll=3600.0), Keeper(db), asyncio.Event()
    feed.attend(REGISTRY, keeper.told)
    await keeper.refresh()
    await feed.start()
    following = asyncio.create_task(keeper.run(stop))
    try:
        for n in range(5):
            made = await block(admin, "ip", f"192.0.2.{220 + n}")
            async with asyncio.timeout(5):
                while keeper.index.blocked.address_key(f"192.0.2.{220 + n}", 0) is None:
                    await asyncio.sleep(0.001)
            assert keeper.revision >= made["version"]
    finally:
        stop.set()
        await following
        await feed.stop()
        await db.close()
