"""What every store of the guard does: the contract in ``stores/__init__.py``, row by row."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.guard.stores.asking import HOLD, limit, take
from tests.guard.stores.places import Verbs

from valhalla.guard.contracts import Began, Effect, Failure, Hold

OTHER = b"\xff two"
DAY = 86_400.0


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
