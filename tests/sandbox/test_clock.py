"""A clock that is set forward and back: nothing stays with a worker that is gone, and a moment's error ends nothing."""

from __future__ import annotations

from datetime import timedelta

from tests.sandbox.conftest import Left
from tests.sandbox.plane import MovableClock, Team, set_row

from valhalla.runtime import Runtime
from valhalla.sandbox.reaper import Reaper

YEAR = timedelta(days=365)


async def test_a_lease_from_the_future_holds_nobody_up(
    team: Team, runtime: Runtime, clock: MovableClock, left: Left
) -> None:
    """A worker died while the clock ran a year ahead; its sandbox is finished when the clock is right again."""
    for status in ("creating", "destroying"):
        sandbox = await team.new()
        await set_row(runtime, sandbox.id, status=status, lease_until=clock.now() + YEAR)
        assert sandbox.id in (await runtime.reaper.once()).destroyed
        assert await left(sandbox.id) == []


async def test_a_lease_of_a_process_whose_clock_is_a_little_ahead_is_kept(
    team: Team, runtime: Runtime, clock: MovableClock
) -> None:
    """Two control planes never have exactly the same time."""
    sandbox = await team.new()
    await set_row(runtime, sandbox.id, status="creating", lease_until=clock.now() + timedelta(minutes=1))
    assert sandbox.id not in (await runtime.reaper.once()).resumed
    await set_row(runtime, sandbox.id, status="running", lease_until=None)


async def test_an_orphan_that_was_first_seen_in_the_future(
    team: Team, runtime: Runtime, clock: MovableClock, left: Left
) -> None:
    """Its grace begins when the clock has been set back."""
    sandbox = await team.new()
    await team.destroy(sandbox.id)
    await runtime.backends.valkey.provision(sandbox.names, expires_at=sandbox.expires_at)
    clock.ahead = YEAR
    await runtime.reaper.once()
    clock.ahead = timedelta(0)
    await runtime.reaper.once()
    assert await left(sandbox.id) == ["valkey user"]
    clock.ahead = timedelta(minutes=2)
    await runtime.reaper.once()
    assert await left(sandbox.id) == []


async def test_a_jump_is_doubted_once(runtime: Runtime, clock: MovableClock) -> None:
    """The round after a jump ends nothing, in either direction; a clock that stays there is believed."""
    reaper = Reaper(runtime.db, runtime.backends, runtime.ledger, runtime.sandboxes.teardown, clock=clock)
    seen: list[bool] = []
    for ahead in (timedelta(0), timedelta(0), YEAR, YEAR, timedelta(0), timedelta(0), timedelta(minutes=1)):
        clock.ahead = ahead
        seen.append(reaper._jumped())
    assert seen == [False, False, True, False, True, False, False]


async def test_creating_and_extending_across_a_jump(team: Team, runtime: Runtime, clock: MovableClock) -> None:
    """What was made while the clock was wrong lives, can be extended within its limits, and ends."""
    clock.ahead = YEAR
    sandbox = await team.new(ttl="1h")
    clock.ahead = timedelta(0)
    await runtime.reaper.once()
    assert (await team.get(sandbox.id)).status == "running"
    extension = await runtime.sandboxes.extend(team.principal, sandbox.id, "1h")
    assert extension.sandbox.expires_at <= sandbox.created_at + runtime.sandboxes.limits.max_ttl
    assert (await team.destroy(sandbox.id)).status == "destroyed"
