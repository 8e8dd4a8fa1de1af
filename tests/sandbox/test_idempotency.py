"""One key, one sandbox."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sandbox.conftest import Left
from tests.sandbox.plane import Team, work_in
from tests.sandbox.racing import race

from valhalla.kernel.problems import Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import InProgress, KeyReuse, NameTaken


class TestIdempotency:
    """One key, one sandbox."""

    async def test_the_same_request_replays(self, team: Team) -> None:
        first = await team.create(key="k1", name=team.owner, tags=["a"])
        again = await team.create(key="k1", name=team.owner, tags=["a"])
        assert (first.replayed, again.replayed) == (False, True)
        assert again.sandbox.id == first.sandbox.id
        assert again.connection is not None
        await work_in(again.connection)
        assert len(await team.all()) == 1

    async def test_another_request_is_refused(self, team: Team) -> None:
        await team.create(key="k1", tags=["a"])
        with pytest.raises(KeyReuse):
            await team.create(key="k1", tags=["b"])
        assert len(await team.all()) == 1

    async def test_a_key_belongs_to_its_caller(self, team: Team, stranger: Team) -> None:
        first, second = await team.create(key="k1"), await stranger.create(key="k1")
        assert not second.replayed
        assert first.sandbox.id != second.sandbox.id

    async def test_twenty_at_once_make_one(self, team: Team) -> None:
        answers, refused = await race(*(team.create(key="k1") for _ in range(20)))
        assert len({answer.sandbox.id for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1
        assert {type(item) for item in refused} <= {InProgress}
        assert len(await team.all()) == 1
        assert (await team.create(key="k1")).replayed

    async def test_a_replay_after_the_end_shows_it_without_credentials(self, team: Team) -> None:
        first = await team.create(key="k1")
        await team.destroy(first.sandbox.id)
        again = await team.create(key="k1")
        assert (again.sandbox.id, again.sandbox.status, again.connection) == (first.sandbox.id, "destroyed", None)
        assert len(await team.all()) == 1

    async def test_a_refused_request_leaves_the_key_free(self, team: Team, stranger: Team) -> None:
        await stranger.new(name=team.owner)
        with pytest.raises(NameTaken):
            await team.create(key="k1", name=team.owner)
        assert not (await team.create(key="k1")).replayed

    async def test_a_failed_creation_leaves_the_key_free(
        self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, left: Left
    ) -> None:
        async def away(*_: Any, **__: Any) -> None:
            raise Unavailable("valkey")

        with monkeypatch.context() as patch:
            patch.setattr(runtime.backends.valkey, "provision", away)
            with pytest.raises(Unavailable):
                await team.create(key="k1", name=team.owner)
        (failed,) = await team.all()
        again = await team.create(key="k1", name=team.owner)
        assert not again.replayed
        assert again.sandbox.id != failed.id
        assert await left(failed.id) == []
