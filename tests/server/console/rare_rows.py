"""What pages show that does not come by one request, and buttons that do more than change a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.server.console.desk import Desk
from tests.server.console.rows import Made, World, open_record, press

from valhalla.features.operations.clients.people import Person
from valhalla.kit import outbox


class RowError(Exception):
    """What nobody handled."""


async def destroying(world: World, desk: Desk, made: Made) -> None:
    await open_record(desk, made)
    await press(desk, "Destroy")
    assert (await world.send("GET", made.path))["status"] in ("destroying", "destroyed")


async def template(world: World, n: int) -> Made:
    box = await world.send("POST", "/api/sandboxes", {"template": "empty", "name": f"row-source-{n}"})
    world.gone.append(f"/api/sandboxes/{box['id']}")
    await world.send("POST", f"/api/sandboxes/{box['id']}/snapshot", {"template": f"row-template-{n}"})
    world.gone.append(f"/api/templates/row-template-{n}")
    return Made(f"row-template-{n}", "/api/templates")


async def removing_template(world: World, desk: Desk, made: Made) -> None:
    await press(desk, "Delete", f"#rows tr:has-text('{made.text}')")
    assert made.text not in (await world.admin.get(made.path)).text


async def hold(world: World, n: int) -> Made:
    asker = await world.somebody(f"row-asker-{n}", "keys:write", role="operator")
    body = {"arguments": {"owner": f"row-nobody-{n}"}, "reason": "row"}
    answer = await asker.post("/system/admin/actions/key.revoke-owner", json=body)
    assert answer.status_code == 202, answer.text
    return Made(f"row-nobody-{n}", answer.headers["location"])


async def action(world: World, n: int) -> Made:
    asker = await world.somebody(f"row-asker-{n}", "actions:write", "actions:read", "keys:write", role="operator")
    body = {"type": "key.revoke-owner", "payload": {"owner": f"row-none-{n}"}, "reason": "row"}
    made = await world.send("POST", "/system/security/actions", body, asker)
    return Made(f"row-none-{n}", f"/system/security/actions/{made['id']}")


async def person(world: World, n: int) -> Made:
    people, runtime = world.plane.runtime.features.clients.people, world.plane.runtime
    name = f"row-person-{n}"
    said = Person(name, "https://issuer.example", name, name, ("ops",), datetime.now(UTC))
    await runtime.db.run(lambda conn: people.registry.put(conn, f"person:{name}", said, actor="row", reason="row"))
    await runtime.feed.refresh()
    path = f"/system/people/{quote(f'person:{name}')}"
    world.gone.append(path)
    return Made(name, path)


def _known(world: World, name: str) -> None:
    jobs = world.plane.runtime.jobs

    async def work() -> None:
        """Do nothing."""

    if name not in jobs.names:
        jobs.job(name, queue="valhalla")(work)


async def job(world: World, n: int) -> Made:
    _known(world, f"row.work{n}")
    made = await world.send("POST", "/system/jobs", {"name": f"row.work{n}", "delay": 86400})
    return Made(f"row.work{n}", f"/system/jobs/{made['id']}")


async def schedule(world: World, n: int) -> Made:
    _known(world, "row.work0")
    path = f"/system/schedules/row-plan-{n}"
    timing = {"type": "every", "seconds": 86400, "start": "2031-01-01T00:00:00Z"}
    await world.send("PUT", path, {"job": "row.work0", "timing": timing})
    world.gone.append(path)
    return Made(f"row-plan-{n}", path)


async def planning(world: World, desk: Desk, made: Made) -> None:
    await open_record(desk, made)
    await press(desk, "Edit", **{"timing.type": "cron", "timing.expression": "30 2 * * *"})
    found = await world.send("GET", made.path)
    assert found["timing"] == {"type": "cron", "expression": "30 2 * * *", "timezone": "UTC"}
    await press(desk, "Pause")
    assert (await world.send("GET", made.path))["paused"]
    await desk.open("schedules")
    typed = {"name": "row-plan-made", "job": "row.work0", "timing.type": "every", "timing.seconds": "90"}
    await press(desk, "New schedule", **typed, **{"timing.start": "2031-01-01T00:00:00"})
    world.gone.append("/system/schedules/row-plan-made")
    found = await world.send("GET", "/system/schedules/row-plan-made")
    assert (found["timing"]["seconds"], found["job"]) == (90.0, "row.work0")


async def alert(world: World, n: int) -> Made:
    name = f"row-alert-{n}"
    made = await world.send("POST", "/system/alerts", {"name": name, "severity": "info", "title": name})
    return Made(name, f"/system/alerts/{made['alert']['id']}")


async def application(world: World, n: int) -> Made:
    gate = await world.somebody(f"row-gate-{n}", "snapshot:read")
    body = {"instance": f"row{n}", "host": f"row-host-{n}", "release": "1.0.0", "revision": "1.1.1.1"}
    await world.send("POST", "/system/snapshot/applications", body, gate)
    return Made(f"row-host-{n}")


async def running_suite(world: World, desk: Desk, made: Made) -> None:
    await open_record(desk, made)
    await press(desk, "Run")
    runs = await world.send("GET", f"/system/deployment/smoke/runs?suite={made.text}")
    assert len(runs["items"]) == 1


async def smoke_run(world: World, n: int) -> Made:
    suite = f"/system/deployment/smoke/suites/row-run-{n}"
    await world.send("PUT", suite, {"base_url": "http://127.0.0.1:9", "checks": [{"name": "alive", "path": "/live"}]})
    world.gone.append(suite)
    await world.send("POST", f"{suite}/run", {})
    return Made(f"row-run-{n}", suite)


async def routes(world: World, _n: int) -> Made:
    data = {"added": 1, "removed": 0, "changed": 0}
    await world.plane.runtime.db.run(lambda c: outbox.emit(c, subject="routes", type="routes.changed", data=data))
    return Made("")


async def error(world: World, n: int) -> Made:
    recorder = world.plane.runtime.features.failures.recorder
    try:
        raise RowError(f"row failure {'abcdef'[n]}")
    except RowError as raised:
        recorder.note(raised, where=f"row-place-{n}", correlation="row", principal="row")
    await recorder.flush()
    (found,) = (await world.send("GET", f"/system/errors?route=row-place-{n}"))["items"]
    return Made(f"row-place-{n}", f"/system/errors/{found['id']}")


async def resolving_error(world: World, desk: Desk, made: Made) -> None:
    await open_record(desk, made)
    await press(desk, "Resolve", note="mended")
    assert (await world.send("GET", made.path))["status"] == "resolved"


async def line(world: World, n: int) -> Made:
    await world.send("POST", "/system/logs", {"message": f"row line {n}", "level": "warning", "category": "row"})
    return Made(f"row line {n}")


async def trace(world: World, n: int) -> Made:
    now = time.time_ns()
    span = {
        "traceId": f"{time.time_ns():032x}",
        "spanId": f"{n + 1:016x}",
        "name": f"row span {n}",
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 5_000_000),
    }
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "row-shop"}}]}
    sent = {"resource": service, "scopeSpans": [{"spans": [span]}]}
    await world.send("POST", "/v1/traces", {"resourceSpans": [sent]})
    return Made(f"row span {n}")


async def entry(world: World, n: int) -> Made:
    path = f"/system/config/row.audited-{n}"
    await world.send("PUT", path, {"value": n, "type": "integer"})
    world.gone.append(path)
    return Made(f"row.audited-{n}")


async def verifying(_world: World, desk: Desk, _made: Made) -> None:
    await press(desk, "Verify the whole ledger", said="h2:text-is('The answer')")
    assert '"ok": true' in await desk.page.inner_text("main")


async def mode(world: World, n: int) -> Made:
    wanted = ("normal", "elevated")[n % 2]
    await world.send("POST", "/system/security/mode", {"mode": wanted, "reason": "row"})
    return Made(wanted)


async def switching_mode(world: World, desk: Desk, _made: Made) -> None:
    await press(desk, "Switch the mode", mode="normal", reason="row")
    assert (await world.send("GET", "/system/security/mode"))["mode"] == "normal"


async def block(world: World, n: int) -> Made:
    made = await world.send("POST", "/system/security/blocklist", {"type": "ip", "value": f"198.51.100.2{n}"})
    path = f"/system/security/blocklist/{quote(made['key'])}"
    world.gone.append(path)
    return Made(f"198.51.100.2{n}", path)


async def caught(world: World, n: int) -> Made:
    name = f"row-trap-{n}"
    made = await world.send("POST", "/system/security/honeypots", {"name": name, "type": "other"})
    world.gone.append(f"/system/security/honeypots/{name}")
    event = {"id": "1", "at": datetime.now(UTC).isoformat(), "kind": "auth_attempt", "address": f"203.0.113.7{n}"}
    body = {"items": [event]}
    await world.send("POST", "/system/security/honeypots/events", body, world.plane.client(made["key"]))
    return Made(f"203.0.113.7{n}")


async def notify_rule(world: World, n: int) -> Made:
    channel = "/system/notify/channels/row-ruled"
    body = {"kind": "webhook", "webhook": {"url": "http://127.0.0.1:9/"}}
    await world.send("PUT", channel, body)
    world.gone.append(channel)
    path = f"/system/notify/rules/row-notify-{n}"
    await world.send("PUT", path, {"channels": ["row-ruled"], "events": ["nothing.ever"]})
    world.gone.append(path)
    return Made(f"row-notify-{n}", path)


async def delivery(world: World, n: int) -> Made:
    channel = "/system/notify/channels/row-delivered"
    body = {"kind": "webhook", "webhook": {"url": "http://127.0.0.1:9/"}, "attempts": 1}
    await world.send("PUT", channel, body)
    world.gone.append(channel)
    made = await world.send("POST", "/system/notify", {"channel": "row-delivered", "subject": f"row news {n}"})
    return Made(f"row news {n}", f"/system/notify/deliveries/{made['id']}")


async def replaying(world: World, desk: Desk, made: Made) -> None:
    await until(world, desk, made, lambda found: found["status"] == "dead")
    await open_record(desk, made)
    await press(desk, "Replay")
    await until(world, desk, made, lambda found: found["attempts"] == 2)


async def until(world: World, desk: Desk, made: Made, holds: Callable[[Any], bool]) -> None:
    """Wait for what the control plane does by itself."""
    while not holds(await world.send("GET", made.path)):
        await desk.page.wait_for_timeout(100)


async def export(world: World, n: int) -> Made:
    source = ("history:config", "history:flags")[n % 2]
    made = await world.send("POST", "/system/exports", {"source": source})
    return Made(source, f"/system/exports/{made['id']}")


async def downloading(world: World, desk: Desk, made: Made) -> None:
    await open_record(desk, made)
    await until(world, desk, made, lambda found: found["status"] == "completed")
    await desk.page.reload()
    await press(desk, "Download", said="h2:text-is('The answer')")
    assert "signature=" in await desk.page.inner_text("main")


async def retention_policy(world: World, n: int) -> Made:
    category = ("spans", "metrics")[n % 2]
    path = f"/system/retention/policies/{category}"
    await world.send("PUT", path, {"days": 40 + n})
    world.gone.append(path)
    return Made(category, path)


async def kept_days(world: World, n: int) -> Made:
    days = 1230 + n
    await world.send("PUT", "/system/retention/policies/spans", {"days": days})
    world.gone.append("/system/retention/policies/spans")
    return Made(f"{days:,}")


async def previewing_purge(_world: World, desk: Desk, _made: Made) -> None:
    await press(desk, "What would go", "#rows tr:has-text('spans')", said="h2:text-is('The answer')")
    assert '"rows": 0' in await desk.page.inner_text("main")


async def purge(world: World, n: int) -> Made:
    category = ("spans", "metrics")[n % 2]
    asked: Any = await world.send("POST", f"/system/retention/categories/{category}/purge", {"reason": "row"})
    return Made(category, f"/system/retention/purges/{asked['purge']['id']}")
