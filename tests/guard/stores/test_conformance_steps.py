"""What every store of the guard does after a call began: swaps, scans, pages, the ledger, the purge."""

from __future__ import annotations

from typing import Any

import pytest
from tests.guard.stores.asking import limit, take
from tests.guard.stores.places import Verbs

from valhalla.guard.contracts import Approval, Began, Failure, Step

DAY = 86_400.0


# -- compare and swap --------------------------------------------------------------------------------------------------


def test_a_swap_is_fenced_by_state_generation_and_version(verbs: Verbs) -> None:
    row = verbs.row("executing")
    assert verbs.cas("nobody", "executing", "succeeded").kind == "absent"
    for wrong in ({"generation": 2}, {"version": row.version + 1}):
        missed = verbs.cas(row.id, "executing", "succeeded", **wrong)
        assert (missed.kind, missed.record) == ("missed", row)
    assert verbs.cas(row.id, "held approved", "denied").kind == "missed"
    done = verbs.cas(row.id, "executing", "succeeded", generation=1, version=row.version, patch={"value": b"v"})
    assert done.done
    assert done.record is not None
    assert (done.record.state, done.record.value, done.record.version) == ("succeeded", b"v", row.version + 1)
    assert verbs.scan("id", id=row.id).records == (done.record,)


def test_a_patch_sets_each_field(verbs: Verbs) -> None:
    row = verbs.row("held")
    approval = Approval(0, "bo", "approve", b"\x01", 12.5, "looks fine")
    patch: dict[str, Any] = {
        "approvals": (approval,),
        "reason": "r",
        "evidence": "e",
        "policy": "p2",
        "quorum": (Step(1, None),),
        "payload": b"\x02",
        "fingerprint": b"\x03",
        "summary": "s",
        "failure": Failure("E", "t"),
        "value": b"\x04",
    }
    record = verbs.cas(row.id, "held", "held", event="approval", patch=patch).record
    assert {name: getattr(record, name) for name in patch} == patch
    cleared = verbs.cas(row.id, "held", "held", event="approval", patch={"reason": None, "value": None}).record
    assert cleared is not None
    assert (cleared.reason, cleared.value, cleared.approvals) == (None, None, (approval,))


def test_conditions_are_judged_by_the_store(verbs: Verbs) -> None:
    held, running = verbs.row("held"), verbs.row("executing", key="k2")
    assert verbs.cas(held.id, "held", "expired", when="expired").kind == "missed"
    assert verbs.cas(running.id, "executing", "indeterminate", when="lapsed").kind == "missed"
    assert verbs.cas(held.id, "held", "held", when="unexpired").done
    verbs.place.age(3601)
    assert verbs.cas(held.id, "held", "approved", when="unexpired").kind == "missed"
    assert verbs.cas(held.id, "held", "expired", when="expired").done
    assert verbs.cas(running.id, "executing", "indeterminate", when="lapsed").done


def test_a_heartbeat_renews_the_lease_without_a_line(verbs: Verbs) -> None:
    row = verbs.row("executing", lease=60.0)
    verbs.place.age(59)
    beat = verbs.cas(row.id, "executing", "executing", event=None, generation=1, lease=60.0)
    assert beat.done
    verbs.place.age(59)
    assert verbs.begin().kind is Began.IN_PROGRESS
    assert [line.event for line in verbs.scan("ledger").lines] == ["begin"]
    assert verbs.cas(row.id, "executing", "executing", event=None, generation=2, lease=60.0).kind == "missed"


def test_durations_of_a_swap_are_set_from_the_stores_clock(verbs: Verbs) -> None:
    row = verbs.row("held")
    record = verbs.cas(row.id, "held", "approved", event="approved", expires_in=10.0).record
    assert record is not None
    assert record.expires_at == pytest.approx(record.updated_at + 10, abs=1e-3)
    done = verbs.cas(row.id, "approved", "succeeded", ttl=5.0, tombstone=7.0).record
    assert done is not None
    assert (done.value_until, done.keep_until) == (
        pytest.approx(done.updated_at + 5, abs=1e-3),
        pytest.approx(done.updated_at + 12, abs=1e-3),
    )


def test_a_dispatch_is_charged_in_the_same_step(verbs: Verbs) -> None:
    takes = take(limit("1/hour"))
    first, second = verbs.row("approved"), verbs.row("approved", key="k2")
    done = verbs.cas(first.id, "approved", "executing", event="dispatch", takes=takes, lease=5.0)
    assert done.done
    refused = verbs.cas(second.id, "approved", "executing", event="dispatch", takes=takes, lease=5.0)
    assert (refused.kind, refused.limit) == ("limited", "per-hour")
    assert refused.record == second


def test_one_of_many_swaps_wins(verbs: Verbs) -> None:
    row = verbs.row("executing")
    results = [verbs.cas(row.id, "executing", "succeeded", patch={"value": bytes([n])}) for n in range(3)]
    assert [one.kind for one in results] == ["done", "missed", "missed"]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_scans_find_rows_by_what_they_wait_for(verbs: Verbs) -> None:
    rows = {state: verbs.row(state, key=state) for state in ("held", "approved", "executing", "indeterminate")}
    verbs.row("succeeded", key="done", principal="bo", name="refund")

    def found(kind: str, **fields: Any) -> set[str]:
        return {record.key or "" for record in verbs.scan(kind, **fields).records}

    assert found("open") == {"held", "approved"}
    assert found("approved") == {"approved"}
    assert found("indeterminate") == {"indeterminate"}
    assert found("all") == {*rows, "done"}
    assert found("all", name="refund") == found("all", principal="bo") == {"done"}
    assert found("overdue") == found("lapsed") == set()
    verbs.place.age(3601)
    assert found("overdue") == {"held", "approved"}
    assert found("lapsed") == {"executing"}


def test_pages_show_every_row_once(verbs: Verbs) -> None:
    for n in range(7):
        verbs.begin(key=f"k{n}")
    seen: list[str | None] = []
    cursor: int | None = None
    while True:
        page = verbs.scan("all", after=cursor, limit=3)
        seen += [record.key for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"k{n}" for n in range(7)]


def test_the_ledger_tells_every_step_in_order_and_no_secret(verbs: Verbs) -> None:
    row = verbs.row(
        "held", key="card 4111 1111 1111 1111", reason="token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    )
    verbs.cas(row.id, "held", "approved", event="approved", actor="bo")
    verbs.cas(row.id, "approved", "executing", event="dispatch", actor="worker")
    verbs.cas(row.id, "executing", "succeeded")
    lines = verbs.scan("ledger").lines
    assert [(line.event, line.state) for line in lines] == [
        ("held", "held"),
        ("approved", "approved"),
        ("dispatch", "executing"),
        ("finish", "succeeded"),
    ]
    assert [line.principal for line in lines] == ["ana", "bo", "worker", "ana"]
    assert {line.id for line in lines} == {row.id}
    assert "4111 1111 1111" not in str(lines)
    assert "eyJhbGci" not in str(lines)
    assert [line.seq for line in verbs.scan("ledger", after=lines[1].seq).lines] == [lines[2].seq, lines[3].seq]


def test_purge_drops_results_then_rows_and_nothing_else(verbs: Verbs) -> None:
    done = verbs.row("executing", key="done", ttl=100.0, tombstone=1000.0)
    verbs.cas(done.id, "executing", "succeeded", patch={"value": b"v"})
    verbs.row("indeterminate", key="unknown")
    verbs.row("held", key="held")
    assert verbs.purge() == 0
    verbs.place.age(101)
    assert verbs.purge() == 1
    assert verbs.purge() == 0
    assert verbs.begin(key="done").kind is Began.REPLAY
    verbs.place.age(40 * DAY)
    assert verbs.purge() == int(getattr(verbs.place, "purges_rows", True))
    assert {record.key for record in verbs.scan("all").records} == {"unknown", "held"}
