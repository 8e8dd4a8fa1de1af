"""What every store of the guard does: the contract in ``stores/__init__.py``, row by row."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.guard.stores.places import Verbs

from valhalla.guard.contracts import Approval, Began, Effect, Failure, Hold, Step, Take
from valhalla.guard.governor import Limit

HOLD = Hold((Step(2, "finance"),), 3600.0, 20, b"\x00arguments", '{"order": "A-1"}')
OTHER = b"\xff two"
DAY = 86_400.0


def limit(text: str, **fields: Any) -> Limit:
    return Limit.parse(text, **fields)


def take(*limits: Limit, resource: str = "payment", **fields: Any) -> tuple[Take, ...]:
    return (Take(resource, limits=limits, **fields),)


def left(began: Any) -> dict[str, int]:
    return {name: units for name, units, _ in began.policies}


# -- dedup -------------------------------------------------------------------------------------------------------------


def test_a_first_call_executes_with_a_lease(verbs: Verbs) -> None:
    began = verbs.begin(lease=50.0, parent="p", correlation="c", reason="why", policy="v1")
    record = began.record
    assert (began.kind, record.state, record.generation, record.version) == (Began.EXECUTE, "executing", 1, 1)
    assert (record.parent, record.correlation, record.reason, record.policy) == ("p", "c", "why", "v1")
    assert (record.fingerprint, record.key, record.effect) == (b"\x00one", "k", Effect.IRREVERSIBLE)
    assert record.lease_until - record.created_at == pytest.approx(50.0, abs=1e-3)
    assert verbs.scan("key", name="payment", key="k").records == (record,)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("executing", Began.IN_PROGRESS),
        ("indeterminate", Began.INDETERMINATE),
        ("held", Began.HELD),
        ("approved", Began.APPROVED),
        ("succeeded", Began.REPLAY),
        ("failed", Began.REPLAY),
        ("denied", Began.DENIED),
    ],
)
def test_what_answers_the_same_call(verbs: Verbs, state: str, kind: Began) -> None:
    row = verbs.row(state)
    again = verbs.begin()
    assert (again.kind, again.record) == (kind, row)
    assert (again.retry_after is not None and 0 < again.retry_after <= 1) == (kind is Began.IN_PROGRESS)


@pytest.mark.parametrize("state", ["not_done", "expired", "cancelled", "superseded", "stale"])
def test_a_released_key_is_free(verbs: Verbs, state: str) -> None:
    row = verbs.row(state)
    again = verbs.begin().record
    assert again is not None
    assert (again.id == row.id) == (state == "not_done")
    assert (again.state, again.generation) == ("executing", row.generation + 1)


@pytest.mark.parametrize("state", ["executing", "indeterminate", "succeeded", "failed", "denied"])
def test_other_arguments_are_key_reuse(verbs: Verbs, state: str) -> None:
    row = verbs.row(state)
    again = verbs.begin(fingerprint=OTHER)
    assert (again.kind, again.record) == (Began.KEY_REUSE, row)


@pytest.mark.parametrize("state", ["not_done", "expired", "cancelled"])
def test_other_arguments_take_a_released_key(verbs: Verbs, state: str) -> None:
    row = verbs.row(state)
    again = verbs.begin(fingerprint=OTHER)
    assert again.kind is Began.EXECUTE
    assert again.record is not None
    assert again.record.id != row.id
    assert verbs.scan("id", id=row.id).records == (row,)


@pytest.mark.parametrize(("state", "becomes"), [("held", "superseded"), ("approved", "stale")])
def test_other_arguments_replace_an_open_hold_of_the_same_principal(verbs: Verbs, state: str, becomes: str) -> None:
    row = verbs.row(state)
    assert verbs.begin(fingerprint=OTHER, principal="bo").kind is Began.KEY_REUSE
    again = verbs.begin(fingerprint=OTHER, verdict="hold", hold=HOLD)
    assert again.kind is Began.HELD
    assert verbs.scan("id", id=row.id).records[0].state == becomes
    assert verbs.scan("key", name="payment", key="k").records == (again.record,)


def test_a_lapsed_execution_is_reported(verbs: Verbs) -> None:
    row = verbs.row("executing")
    verbs.place.age(61)
    again = verbs.begin()
    assert again.kind is Began.INDETERMINATE
    assert again.record is not None
    assert (again.record.id, again.record.state, again.record.generation) == (row.id, "indeterminate", 1)


@pytest.mark.parametrize("state", ["executing", "indeterminate"])
def test_a_lapsed_execution_that_may_run_again_does(verbs: Verbs, state: str) -> None:
    row = verbs.row(state)
    if state == "executing":
        assert verbs.begin(on_lapse="rerun").kind is Began.IN_PROGRESS
        verbs.place.age(61)
    again = verbs.begin(on_lapse="rerun")
    assert again.kind is Began.EXECUTE
    assert again.record is not None
    assert (again.record.id, again.record.generation) == (row.id, 2)
    late = verbs.cas(row.id, "executing indeterminate", "succeeded", generation=1, patch={"value": b"late"})
    assert late.kind == "missed"


def test_an_overdue_hold_expires_and_the_call_goes_on(verbs: Verbs) -> None:
    row = verbs.row("held")
    verbs.place.age(3601)
    again = verbs.begin(verdict="hold", hold=HOLD)
    assert again.kind is Began.HELD
    assert verbs.scan("id", id=row.id).records[0].state == "expired"


def test_a_result_is_forgotten_before_the_fact(verbs: Verbs) -> None:
    row = verbs.row("executing", ttl=100.0, tombstone=1000.0)
    verbs.cas(row.id, "executing", "succeeded", patch={"value": b"\x00result"})
    record = verbs.begin().record
    assert record is not None
    assert record.value == b"\x00result"
    verbs.place.age(101)
    bare = verbs.begin()
    assert bare.kind is Began.REPLAY
    assert bare.record is not None
    assert bare.record.value is None
    verbs.place.age(1000)
    assert verbs.begin().kind is Began.EXECUTE


@pytest.mark.parametrize("state", ["succeeded", "failed", "denied"])
def test_what_is_not_kept_answers_only_while_it_is_open(verbs: Verbs, state: str) -> None:
    verbs.row(state, keep=False)
    assert verbs.begin(keep=False).kind is Began.EXECUTE


def test_keys_belong_to_their_action(verbs: Verbs) -> None:
    verbs.row("succeeded")
    assert verbs.begin(name="refund").kind is Began.EXECUTE


@pytest.mark.parametrize(("track", "rows"), [(True, 2), (False, 0)])
def test_without_a_key_every_call_is_its_own(verbs: Verbs, track: bool, rows: int) -> None:
    assert [verbs.begin(key=None, track=track).kind for _ in range(2)] == [Began.EXECUTE] * 2
    assert len(verbs.scan("all").records) == rows


def test_odd_texts_come_back_or_lose_what_cannot_be_kept(verbs: Verbs) -> None:
    row = verbs.row("executing", key="ключ 'x' \"y\" \\ %s {0} 🗝", principal="o'hara\\", reason="%(x)s $1 :a")
    assert (row.key, row.principal, row.reason) == ("ключ 'x' \"y\" \\ %s {0} 🗝", "o'hara\\", "%(x)s $1 :a")
    failure = Failure("E", "a\x00b \ud800 c")
    done = verbs.cas(row.id, "executing", "failed", patch={"failure": failure})
    assert done.done
    assert done.record is not None
    assert done.record.failure is not None
    assert done.record.failure.text.startswith("a")


# -- policy and holds --------------------------------------------------------------------------------------------------


def test_a_denied_call_leaves_a_line_and_no_row(verbs: Verbs) -> None:
    denied = verbs.begin(verdict="deny", reason="no", takes=take(limit("1/hour")))
    assert (denied.kind, denied.record) == (Began.DENIED, None)
    assert verbs.scan("all").records == ()
    (line,) = verbs.scan("ledger").lines
    assert (line.event, line.state, line.reason) == ("denied", "denied", "no")
    assert verbs.begin(takes=take(limit("1/hour"))).kind is Began.EXECUTE


def test_a_hold_keeps_what_is_needed_and_charges_nothing(verbs: Verbs) -> None:
    takes = take(limit("1/hour"))
    held = verbs.begin(verdict="hold", hold=HOLD, takes=takes)
    record = held.record
    assert (held.kind, record.state) == (Began.HELD, "held")
    assert (record.quorum, record.payload, record.summary) == (HOLD.quorum, HOLD.payload, HOLD.summary)
    assert record.expires_at - record.created_at == pytest.approx(3600, abs=1e-3)
    assert verbs.begin(key="k2", takes=takes).kind is Began.EXECUTE


def test_open_holds_are_capped_per_principal(verbs: Verbs) -> None:
    hold = Hold(HOLD.quorum, 60.0, 2, b"")
    made = [verbs.begin(key=f"k{n}", verdict="hold", hold=hold) for n in range(3)]
    assert [one.kind for one in made] == [Began.HELD, Began.HELD, Began.CAPPED]
    assert verbs.begin(key="k9", verdict="hold", hold=hold, principal="bo").kind is Began.HELD
    assert made[0].record is not None
    verbs.cas(made[0].record.id, "held", "denied", event="denied")
    assert verbs.begin(key="k9a", verdict="hold", hold=hold).kind is Began.HELD


def test_the_cap_holds_for_proposals_made_at_once(verbs: Verbs) -> None:
    hold = Hold(HOLD.quorum, 60.0, 3, b"")
    answers = verbs.together([verbs.request(key=f"k{n}", verdict="hold", hold=hold) for n in range(12)])
    assert [one.kind for one in answers].count(Began.HELD) == 3


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_a_limit_refuses_and_leaves_no_claim(verbs: Verbs, kind: Any) -> None:
    takes = take(limit("4/100s", kind=kind))
    kinds = [verbs.begin(key=f"k{n}", takes=takes).kind for n in range(5)]
    most = 4 if kind == "exact" else 2
    assert kinds == [Began.EXECUTE] * most + [Began.LIMITED] * (5 - most)
    refused = verbs.begin(key="k9", takes=takes)
    assert (refused.limit, refused.record) == ("per-100s", None)
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= (100 if kind == "exact" else 50)
    ((name, remaining, reset),) = refused.policies
    assert (name, remaining) == ("per-100s", 0)
    assert reset == pytest.approx(100, abs=5)
    assert verbs.scan("key", name="payment", key="k9").records == ()
    verbs.place.age(refused.retry_after)
    assert verbs.begin(key="k9", takes=takes).kind is Began.EXECUTE


def test_limits_are_taken_all_or_none(verbs: Verbs) -> None:
    wide, narrow = limit("10/hour", name="wide"), limit("1/hour", name="narrow", kind="exact")
    assert verbs.begin(key="k0", takes=take(wide, narrow)).kind is Began.EXECUTE
    for n in range(1, 4):
        refused = verbs.begin(key=f"k{n}", takes=take(wide, narrow))
        assert (refused.kind, refused.limit) == (Began.LIMITED, "narrow")
    told = verbs.begin(key="k9", takes=take(wide, narrow)).policies
    assert {name: left for name, left, _ in told} == {"wide": 9, "narrow": 0}


def test_costs_subjects_shared_and_shadow_limits(verbs: Verbs) -> None:
    limits = (
        limit("10/hour", name="each"),
        limit("12/hour", name="together", scope="all"),
        limit("1/hour", name="shadow", shadow=True),
    )
    assert verbs.begin(key="a", takes=take(*limits, subject="u1", cost=10), report=True).policies[0][:2] == ("each", 0)
    assert verbs.begin(key="b", takes=take(*limits, subject="u1")).limit == "each"
    assert verbs.begin(key="c", takes=take(*limits, subject="u2", cost=3)).limit == "together"
    assert verbs.begin(key="d", takes=take(*limits, subject="u2", cost=2)).kind is Began.EXECUTE
    never = verbs.begin(key="e", takes=take(*limits, subject="u3", cost=11))
    assert (never.kind, never.retry_after, never.limit) == (Began.LIMITED, None, "each")


def test_only_the_named_limits_are_charged(verbs: Verbs) -> None:
    limits = (limit("1/hour", name="calls"), limit("100/day", name="tokens"))
    assert verbs.begin(key="a", takes=take(*limits, names=("tokens",))).kind is Began.EXECUTE
    assert verbs.begin(key="b", takes=take(*limits)).kind is Began.EXECUTE
    assert verbs.begin(key="c", takes=take(*limits)).limit == "calls"


def test_what_nobody_limited_is_refused(verbs: Verbs) -> None:
    refused = verbs.begin(takes=take(resource="unheard-of"))
    assert (refused.kind, refused.retry_after, refused.limit) == (Began.LIMITED, None, None)


def test_what_is_known_to_have_no_limit_goes_through(verbs: Verbs) -> None:
    for n in range(3):
        assert verbs.begin(key=f"k{n}", takes=take(resource="free", free=True), report=True).policies == ()


def test_limits_of_all_resources_count_them_together(verbs: Verbs) -> None:
    every = (limit("3/hour", name="all"),)
    mine = limit("2/hour", name="mine")
    mail, sms = take(mine, resource="mail", every=every), take(resource="sms", every=every, free=True)
    assert left(verbs.begin(key="a", takes=mail, report=True)) == {"mine": 1, "all": 2}
    assert left(verbs.begin(key="b", takes=sms, report=True)) == {"all": 1}
    assert verbs.begin(key="c", takes=mail).kind is Began.EXECUTE
    assert verbs.begin(key="d", takes=sms).limit == "all"
    # another subject has units of its own, here and there
    both = take(mine, resource="mail", every=every, subject="u2")
    assert left(verbs.begin(key="e", takes=both, report=True)) == {"mine": 1, "all": 2}
    only = take(mine, resource="mail", every=every, subject="u2", names=("all",))
    assert left(verbs.begin(key="f", takes=only, report=True)) == {"all": 1}


def test_a_replay_is_not_charged(verbs: Verbs) -> None:
    takes = take(limit("1/hour"))
    row = verbs.begin(takes=takes).record
    verbs.cas(row.id, "executing", "succeeded", patch={"value": b"1"})
    assert verbs.begin(takes=takes).kind is Began.REPLAY
    assert verbs.begin(key="k2", takes=takes).kind is Began.LIMITED


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_a_changed_limit_keeps_its_usage(verbs: Verbs, kind: Any) -> None:
    before = limit("8/hour", name="n", kind=kind)
    for n in range(4):
        assert verbs.begin(key=f"k{n}", takes=take(before)).kind is Began.EXECUTE
    lower = limit("4/hour", name="n", kind=kind, burst=4 if kind == "gcra" else None)
    assert verbs.begin(key="k5", takes=take(lower)).kind is Began.LIMITED
    higher = limit("16/hour", name="n", kind=kind)
    kinds = [verbs.begin(key=f"m{n}", takes=take(higher)).kind for n in range(13)]
    assert kinds.count(Began.EXECUTE) == (12 if kind == "exact" else 4)


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_callers_at_once_share_a_limit(verbs: Verbs, kind: Any) -> None:
    takes = take(limit("10/hour", kind=kind))
    verbs.begin(key="first", takes=takes)
    answers = verbs.together([verbs.request(key=f"k{n}", takes=takes) for n in range(20)])
    assert [one.kind for one in answers].count(Began.EXECUTE) == (9 if kind == "exact" else 4)


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


# -- time and crowds ---------------------------------------------------------------------------------------------------


def test_a_wrong_clock_of_the_client_changes_nothing(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    row = verbs.row("executing", lease=60.0)
    takes = take(limit("1/hour"))
    verbs.begin(key="limited", takes=takes)
    for wrong in (0.0, time.time() + 10 * DAY):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda wrong=wrong: wrong)
            assert verbs.begin().kind is Began.IN_PROGRESS
            assert verbs.begin(key="k3", takes=takes).kind is Began.LIMITED
            assert verbs.cas(row.id, "executing", "indeterminate", when="lapsed").kind == "missed"


def test_of_fifty_callers_of_one_key_one_executes(verbs: Verbs) -> None:
    answers = verbs.together([verbs.request() for _ in range(50)])
    kinds = [answer.kind for answer in answers]
    assert kinds.count(Began.EXECUTE) == 1
    assert kinds.count(Began.IN_PROGRESS) == 49


def test_a_request_that_cannot_be_written_does_not_hurt_its_neighbours(verbs: Verbs) -> None:
    if not verbs.place.durable:
        pytest.skip("memory keeps any object")
    bad = verbs.request(key="bad", fingerprint=None)

    def outcome(request: Any) -> Any:
        try:
            return verbs.send(request).kind
        except Exception as error:  # noqa: BLE001 - any error but a neighbour's
            return type(error)

    assert isinstance(outcome(bad), type)
    assert outcome(verbs.request(key="good")) is Began.EXECUTE
