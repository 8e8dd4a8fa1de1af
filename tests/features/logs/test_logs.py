"""Lines are found by everything that they are filtered by, and say truly who wrote them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from valhalla.features.observability.logs import Intake, rules, store
from valhalla.features.observability.logs.contracts import Filter, Raw, Sent
from valhalla.features.observability.logs.errors import LogsFull
from valhalla.features.observability.logs.service import LogService
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden
from valhalla.kit import partitions
from valhalla.kit.correlation import act_as, correlated
from valhalla.kit.db import Database
from valhalla.kit.log import configure, get_logger, tap, untap

ADA = Principal("client-1", "ada", frozenset({"logs:write"}))
EVE = Principal("client-2", "eve", frozenset({"sandbox:read"}))


class Scene:
    def __init__(self, db: Database, **bounds: Any) -> None:
        self.db = db
        self.intake = Intake(db, level="info", clock=Clock(), **bounds)
        self.service = LogService(db, self.intake, clock=Clock())

    async def find(self, *, limit: int = 200, **wanted: Any) -> list[Any]:
        page = await self.service.page(ADA, Filter(**wanted), limit=limit, cursor=None)
        return list(page.items)


@pytest.fixture
async def scene(db: Database) -> Scene:
    await db.run(lambda conn: conn.execute(sa.text("TRUNCATE valhalla.system_logs")))
    return Scene(db)


def raw(at: datetime, message: str = "hello", **members: Any) -> Raw:
    return Raw(at.timestamp(), "server", {"level": "info", "logger": "shop", "event": message, **members})


async def test_a_line_of_the_process_is_found_by_all_that_is_known_of_it(scene: Scene, tmp_path: Path) -> None:
    configure(level="debug", file=tmp_path / "log")
    tap(scene.intake.log)
    try:
        with correlated("deploy:42"):
            act_as("client-9")
            get_logger("shop.payments").warning("payment was declined", order=7, password="hunter2")
            get_logger("shop.payments").debug("not kept")
            act_as(None)
        logging.getLogger("nothing").debug("never a line")
    finally:
        untap(scene.intake.log)
        configure()
    get_logger("shop.payments").error("after the end")
    await scene.intake.batches.flush()
    (line,) = await scene.find(
        level="warning", category="shop.payments", text="DECL payment", correlation_id="deploy:42", principal="client-9"
    )
    assert (line.level, line.origin, line.message) == ("warning", "server", "payment was declined")
    assert line.context == {"order": 7, "password": "***"}
    assert len(await scene.find()) == 1
    assert json.loads((tmp_path / "log").read_text().splitlines()[0])["order"] == 7
    others: list[dict[str, Any]] = [
        {"level": "error"},
        {"category": "shop"},
        {"text": "clined"},
        {"principal": "x"},
        {"origin": "client"},
    ]
    for other in others:
        assert await scene.find(**other) == []


async def test_an_access_line_holds_no_secret(scene: Scene) -> None:
    scene.intake.access("GET", "/x/vh_local_abcdefgh12345678", 500, 0.25, "c-1", "client-1", trace_id="a" * 32)
    await scene.intake.batches.flush()
    (line,) = await scene.find(category="access", level="error")
    assert line.message == "GET /x/*** 500"
    assert line.context["ms"] == 250
    assert "vh_local" not in str(line)


async def test_a_client_cannot_write_as_another(scene: Scene) -> None:
    forged = {"principal": "client-9", "trace_id": "f" * 32, "received_with": "z", "api_key": "k-1234567", "ok": 1}
    with correlated("request-1"):
        scene.service.take(
            ADA, [Sent("error", "access", "it was eve", "mine", forged, datetime(2001, 1, 1, tzinfo=UTC))]
        )
    await scene.intake.batches.flush()
    (line,) = await scene.find()
    assert (line.origin, line.principal, line.owner, line.correlation_id) == ("client", "client-1", "ada", "mine")
    assert line.trace_id is None
    assert line.at > datetime.now(UTC) - timedelta(minutes=5)
    assert line.context == {
        "field_principal": "client-9",
        "field_trace_id": "f" * 32,
        "field_received_with": "z",
        "received_with": "request-1",
        "sent_at": "2001-01-01T00:00:00.000Z",
        "api_key": "***",
        "ok": 1,
    }


async def test_who_lacks_the_scope_sees_nothing(scene: Scene) -> None:
    with pytest.raises(Forbidden):
        await scene.service.page(EVE, Filter(), limit=1, cursor=None)


async def test_a_full_queue_refuses_and_says_how_many(db: Database) -> None:
    scene = Scene(db, most=2)
    sent = [Sent("info", "a", "b")]
    assert scene.service.take(ADA, sent * 3) == (2, 1)
    with pytest.raises(LogsFull):
        scene.service.take(ADA, sent)


async def test_pages_hold_each_line_once_newest_first_over_days(scene: Scene) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for number in range(25):
        # pairs of the same instant, over three days
        scene.intake.batches.put(raw(noon + timedelta(hours=3 * (number // 2)), f"line {number}"))
    await scene.intake.batches.flush()
    seen, cursor = [], None
    while True:
        page = await scene.service.page(ADA, Filter(category="shop"), limit=4, cursor=cursor)
        seen += [line.message for line in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [f"line {number}" for number in range(24, -1, -1)]
    days = await scene.db.run(partitions.existing, "system_logs")
    assert {noon.date() + timedelta(days=number) for number in range(2)} <= days


async def test_rare_words_are_found_behind_many_lines(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_NEWEST", 5)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for number in range(30):
        scene.intake.batches.put(
            raw(noon + timedelta(seconds=number), f"needle-{number}" if number % 10 == 0 else "hay")
        )
    await scene.intake.batches.flush()
    assert [line.message for line in await scene.find(text="Needle")] == ["needle-20", "needle-10", "needle-0"]
    assert [line.message for line in await scene.find(text="needle 20", until=noon + timedelta(minutes=1))] == [
        "needle-20"
    ]
    assert len(await scene.find(text="--- ??", limit=7)) == 7


async def test_whoever_follows_sees_each_line_once(scene: Scene) -> None:
    now = datetime.now(UTC)
    scene.intake.batches.put(raw(now - timedelta(seconds=10), "old"))
    await scene.intake.batches.flush()
    place = (await scene.service.page(ADA, Filter(), limit=5, cursor=None)).newest
    for seconds, message in ((9, "first"), (8, "second"), (0, "too fresh")):
        scene.intake.batches.put(raw(now - timedelta(seconds=seconds), message))
    await scene.intake.batches.flush()
    page = await scene.service.after(ADA, Filter(), limit=5, cursor=place)
    assert [line.message for line in page.items] == ["first", "second"]
    again = await scene.service.after(ADA, Filter(), limit=5, cursor=page.newest)
    assert (list(again.items), again.newest) == ([], page.newest)


async def test_days_are_made_once_and_dropped_whole(scene: Scene) -> None:
    old = datetime(2020, 2, 28, 23, 59, 59, tzinfo=UTC)
    scene.intake.batches.put(raw(old))
    scene.intake.batches.put(raw(old + timedelta(seconds=1)))
    await scene.intake.batches.flush()
    await scene.db.run(partitions.ahead, "system_logs", old)
    dropped = await scene.db.run(partitions.drop_before, "system_logs", old + timedelta(seconds=1))
    assert dropped == [old.date()]
    assert len(await scene.find(until=old + timedelta(days=1))) == 1
    # the writer knew that day: it looks again
    scene.intake.batches.put(raw(old))
    with pytest.raises(IntegrityError):
        await scene.intake.batches.flush()
    await scene.intake.batches.flush()
    assert len(await scene.find(until=old + timedelta(days=1))) == 2
    await scene.db.run(partitions.drop_before, "system_logs", old + timedelta(days=30))


def test_words_of_a_search_are_only_words() -> None:
    assert rules.query("a'b & !c:* | (d)\\") == "'a':* & 'b':* & 'c':* & 'd':*"
    assert rules.query("...") is None
