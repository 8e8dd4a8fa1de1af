"""The client: retries where they are harmless, types, and what a wrong answer becomes."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.fake_plane import KEY, FakePlane, problem

from valhalla.sdk import ApiProblem, Client, Unreachable


@pytest.fixture
def client(plane: FakePlane) -> Iterator[Client]:
    with Client(plane.url, KEY) as opened:
        yield opened


def test_create_sends_what_was_given_and_a_fresh_idempotency_key(client: Client, plane: FakePlane) -> None:
    made = client.create("a", ttl="90m", tags=["x"], routes=[("discord.guild", "1")], metadata={"k": [1]})
    client.create("b")

    (_, _, _, body, headers), (_, _, _, bare, again) = plane.seen
    assert {k: body[k] for k in body if k != "name"} | {} == {"ttl": "90m", "tags": ["x"], "metadata": {"k": [1]}}
    assert bare == {}
    assert headers["Idempotency-Key"] != again["Idempotency-Key"]
    assert made.connection is not None
    assert "p'w" not in repr(made)


def test_a_busy_plane_is_asked_once_more_with_the_same_key(client: Client, plane: FakePlane) -> None:
    plane.script = [problem(503, "backend-unavailable", "postgres is away", retry_after=0.01)]

    assert client.create("a").name == "a"
    first, second = (headers["Idempotency-Key"] for *_, headers in plane.seen)
    assert first == second


def test_what_is_not_repeatable_is_sent_once(client: Client, plane: FakePlane) -> None:
    plane.add("a")
    plane.script = [problem(503, "backend-unavailable", "away", retry_after=0.01)] * 2

    with pytest.raises(ApiProblem) as caught:
        client.link("a", "k", "v")

    assert (len(plane.seen), caught.value.code, caught.value.status) == (1, "backend-unavailable", 503)
    assert caught.value.extra["correlation_id"] == "c0ffee"


def test_every_page_is_walked(client: Client, plane: FakePlane) -> None:
    for number in range(205):
        plane.add(f"s{number}")

    assert len(list(client.iterate())) == 205
    assert len(plane.seen) == 3
    assert len(client.list(limit=2).items) == 2


def test_not_being_ready_is_an_answer(client: Client, plane: FakePlane) -> None:
    plane.ready = {"status": "not-ready", "checks": {"nats": {"ok": False, "reason": "gone"}}}

    assert not client.ready().is_ready


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, "k") as client, pytest.raises(Unreachable) as caught:
        client.get("a")

    assert url == caught.value.url


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://[", "http://x:99999"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Unreachable, match="address"):
        Client(url, "k")


def test_a_silent_server_is_not_waited_for_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begin = time.monotonic()
        with (
            Client(f"http://127.0.0.1:{mute.getsockname()[1]}", "k", timeout=0.3) as client,
            pytest.raises(Unreachable, match="in time"),
        ):
            client.create("a")
        assert time.monotonic() - begin < 0.6


def test_something_else_that_answers(client: Client, plane: FakePlane) -> None:
    plane.script = [(502, {"oops": 1}), (200, {"name": "no id"})]

    for _ in range(2):
        with pytest.raises(ApiProblem) as caught:
            client.get("a")
        assert caught.value.code == "unexpected-answer"


@pytest.mark.parametrize("ref", ["", ".", ".."])
def test_a_name_that_would_change_the_path(client: Client, plane: FakePlane, ref: str) -> None:
    with pytest.raises(ApiProblem, match="is no name"):
        client.destroy(ref)

    assert plane.seen == []


def test_a_name_is_one_path_segment(client: Client, plane: FakePlane) -> None:
    with pytest.raises(ApiProblem, match=re.escape("'a/../b?c'")):
        client.get("a/../b?c")


def test_a_key_with_a_line_break() -> None:
    with pytest.raises(ApiProblem, match="no key has"):
        Client("http://127.0.0.1:1", "a\nb")


def test_members_of_a_newer_plane_are_ignored(client: Client, plane: FakePlane, data_dir: Path) -> None:
    plane.add("a", invented_later={"x": 1})

    assert client.get("a").name == "a"
