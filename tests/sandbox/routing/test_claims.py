"""Claims: from the instant that one returns on, every ingress puts the key's events where they belong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.sandbox.routing.conftest import Bus, event

from valhalla.kernel.ids import new_id
from valhalla.sandbox.routing.contracts import Terms
from valhalla.sandbox.routing.errors import ClaimRefused


async def test_an_event_goes_where_its_key_is(bus: Bus, key: str) -> None:
    """Production's before the claim and after the release, the sandbox's in between; the epoch says which claim."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        assert (await ingress.publish(event(key, 1))).sandbox is None
        claimed = await bus.claim(claims, key, sandbox)
        assert (await ingress.publish(event(key, 2))).sandbox == sandbox
        released = await bus.release(claims, key, sandbox)
        assert (await ingress.publish(event(key, 3))).sandbox is None
    await claims.close()

    assert claimed.ingresses == 1
    assert released is not None
    assert released.epoch > claimed.epoch
    assert [one.event.data for one in await bus.stored(f"ev.p.tenant.{key}.>")] == [b"1", b"3"]
    lane = await bus.stored(f"ev.s.{sandbox}.tenant.{key}.t")
    assert [(one.event.data, one.epoch) for one in lane] == [(b"2", claimed.epoch)]


async def test_a_repeated_event_is_stored_once_across_lanes(bus: Bus, key: str) -> None:
    """A source that replays after a claim does not double what production has."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        await ingress.publish(event(key, 1))
        await bus.claim(claims, key, sandbox)
        assert (await ingress.publish(event(key, 1))).duplicate
        assert not (await ingress.publish(event(key, 2))).duplicate
    await claims.close()

    assert len(await bus.stored(f"ev.s.{sandbox}.>")) == 1


async def test_a_mirror_is_a_copy(bus: Bus, key: str) -> None:
    """Production keeps the event and the sandbox gets one marked as a copy, or none of a sample of nothing."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        await bus.claim(claims, key, sandbox, mode="mirror")
        assert (await ingress.publish(event(key, 1))).sandbox is None
        await bus.claim(claims, key, sandbox, mode="mirror", sample=0.0)
        await ingress.publish(event(key, 2))
        await ingress.flush()
    await claims.close()

    assert [one.mirrored for one in await bus.stored(f"ev.p.tenant.{key}.>")] == [False, False]
    assert [(one.event.data, one.mirrored) for one in await bus.stored(f"ev.s.{sandbox}.>")] == [(b"1", True)]


async def test_whoever_joins_knows_the_claims(bus: Bus, key: str) -> None:
    """An ingress that starts later reads what was claimed before it takes an event."""
    claims, sandbox = bus.claims(), new_id()
    await bus.claim(claims, key, sandbox)
    await claims.close()
    async with bus.ingress() as ingress:
        assert (await ingress.publish(event(key))).sandbox == sandbox


async def test_patterns_are_claimed(bus: Bus, key: str) -> None:
    """A pattern takes the subjects that fall under it."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        await bus.claim(claims, f"{key}.*.made", sandbox, kind="subject")
        for subject, expected in ((f"{key}.eu.made", sandbox), (f"{key}.eu.gone", None)):
            assert (await ingress.publish(event(subject, source="subject"))).sandbox == expected
    await claims.close()


async def test_a_claimer_that_slept_overwrites_nobody(bus: Bus, key: str) -> None:
    """Who does not own the key any more writes nothing, and who has lost the race for the write asks again."""
    claims, former, present = bus.claims(), new_id(), new_id()
    until = datetime.now(UTC) + timedelta(hours=1)
    asked = 0

    async def owned_until_asked() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            # between its question and its write, somebody else gets the key
            await bus.claim(claims, key, present)
            return True
        return False

    late = await claims.establish("tenant", key, former, until=until, terms=Terms(), owns=owned_until_asked)
    assert (late, asked) == (None, 2)
    async with bus.ingress() as ingress:
        assert (await ingress.publish(event(key))).sandbox == present
    await claims.close()


async def test_a_late_release_takes_nothing_away(bus: Bus, key: str) -> None:
    """The key went to another sandbox: the former one's end does not touch it."""
    claims, former, present = bus.claims(), new_id(), new_id()
    await bus.claim(claims, key, former)
    await bus.claim(claims, key, present)
    assert await claims.release("tenant", key, former, unread="drain", owns=bus.owned("tenant", key, former)) is None
    await claims.close()


async def test_two_claim_one_key_at_once(bus: Bus, key: str) -> None:
    """Whoever owns it in the end has it, however their writes interleave."""
    claims, others, sandboxes = bus.claims(), bus.claims(), [new_id() for _ in range(6)]
    async with bus.ingress() as ingress:
        until = datetime.now(UTC) + timedelta(hours=1)

        async def take(sandbox: str, mine: bool) -> None:
            bus.owners["tenant", key] = sandbox
            side = claims if mine else others
            await side.establish(
                "tenant", key, sandbox, until=until, terms=Terms(), owns=bus.owned("tenant", key, sandbox)
            )

        await asyncio.gather(*(take(sandbox, number % 2 == 0) for number, sandbox in enumerate(sandboxes)))
        assert (await ingress.publish(event(key))).sandbox == bus.owners["tenant", key]
    await claims.close()
    await others.close()


async def test_unread_events_are_returned_in_order(bus: Bus, key: str) -> None:
    """Production gets what the sandbox has not read before it gets anything newer."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        await bus.claim(claims, key, sandbox)
        for number in range(5):
            await ingress.publish(event(key, number))
        releasing = asyncio.create_task(bus.release(claims, key, sandbox, "return"))
        for number in range(5, 15):
            await ingress.post(event(key, number))
            await asyncio.sleep(0.001)
        await releasing
        await ingress.flush()
    await claims.close()

    production = [int(one.event.data) for one in await bus.stored(f"ev.p.tenant.{key}.>")]
    assert production == sorted(production)
    assert [*production, *(int(one.event.data) for one in await bus.stored(f"ev.s.{sandbox}.>"))] == list(range(15))


async def test_unread_events_are_dropped(bus: Bus, key: str) -> None:
    """Dropped, they are nobody's."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        await bus.claim(claims, key, sandbox)
        await ingress.publish(event(key))
        await bus.release(claims, key, sandbox, "drop")
    await claims.close()

    assert not await bus.stored(f"ev.s.{sandbox}.>")
    assert not await bus.stored(f"ev.p.tenant.{key}.>")


async def test_refused_when_an_ingress_does_not_follow(bus: Bus, key: str) -> None:
    """Nothing has moved when the claim is refused, and the events of the meantime are production's."""
    claims, sandbox = bus.claims(barrier=0.3), new_id()
    async with bus.ingress() as ingress, bus.ingress(name="deaf") as deaf:
        assert deaf._link is not None
        # it beats on and hears nothing of routes
        deaf.outgoing.changed = lambda where, epoch: deaf.outgoing._barriers.append((epoch, {-1}))  # type: ignore[method-assign]
        claiming = asyncio.create_task(bus.claim(claims, key, sandbox, laggards="refuse"))
        await asyncio.sleep(0.1)
        await ingress.post(event(key, 1))
        with pytest.raises(ClaimRefused) as caught:
            await claiming
        assert caught.value.extra["ingresses"] == [deaf.id]
        await ingress.publish(event(key, 2))
        del deaf.outgoing.changed
        deaf._link.abort()
    await claims.close()

    assert [one.event.data for one in await bus.stored(f"ev.p.tenant.{key}.>")] == [b"1", b"2"]
    assert not await bus.stored(f"ev.s.{sandbox}.>")


async def test_a_key_that_was_lost_while_it_was_held_is_held_no_longer(bus: Bus, key: str) -> None:
    """Ownership went between the two steps of a claim that may be refused: events of the meantime are production's."""
    claims, asked = bus.claims(barrier=6.0), [True]

    async def owns() -> bool:
        return bool(asked) and asked.pop()

    async with bus.ingress() as ingress:
        until = datetime.now(UTC) + timedelta(seconds=60)
        terms = Terms(laggards="refuse")
        assert await claims.establish("tenant", key, new_id(), until=until, terms=terms, owns=owns) is None
        assert (await asyncio.wait_for(ingress.publish(event(key)), 5)).sandbox is None
    await claims.close()


async def test_cut_off_when_an_ingress_does_not_follow(bus: Bus, key: str) -> None:
    """It loses its connection at the server, joins anew, and then knows the claim."""
    claims, sandbox = bus.claims(barrier=0.2), new_id()
    async with bus.ingress(name="deaf") as deaf:
        deaf.outgoing.changed = lambda where, epoch: deaf.outgoing._barriers.append((epoch, {-1}))  # type: ignore[method-assign]
        claimed = await bus.claim(claims, key, sandbox)
        assert deaf.id in claimed.fenced
        assert (await deaf.publish(event(key))).sandbox == sandbox
        assert deaf.joined == 2
        del deaf.outgoing.changed
    await claims.close()


@pytest.mark.slow
async def test_a_claim_ends_with_its_time(bus: Bus, key: str) -> None:
    """Nobody releases it: the server's clock does."""
    claims, sandbox = bus.claims(), new_id()
    async with bus.ingress() as ingress:
        bus.owners["tenant", key] = sandbox
        until = datetime.now(UTC) + timedelta(seconds=1)
        await claims.establish(
            "tenant", key, sandbox, until=until, terms=Terms(), owns=bus.owned("tenant", key, sandbox)
        )
        assert (await ingress.publish(event(key, 1))).sandbox == sandbox
        number = 2
        while (await ingress.publish(event(key, number))).sandbox is not None:
            number += 1
            assert number < 200
            await asyncio.sleep(0.05)
    await claims.close()
