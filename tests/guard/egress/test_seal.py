"""The block itself: what it says of an attempt, how it is entered and left, what it covers."""

from __future__ import annotations

import contextvars
import os
import sys
import threading

import pytest
import requests
import requests.adapters
from tests.guard.egress.world import PYTHON, Web, World, connect

from valhalla.guard import Guard
from valhalla.guard.egress import EgressBlocked, Layer, SealMisuse, SealTimeout, sealed
from valhalla.guard.egress.contracts import MAX_ATTEMPTS
from valhalla.kernel.problems import Invalid, Problem


def test_an_attempt_says_what_and_where_without_secrets(web: Web) -> None:
    with sealed() as seal, pytest.raises(EgressBlocked) as caught:
        requests.post(f"{web.url}?token=abc&a=1", json={"amount": 3, "card": "4111 1111 1111 1111", "password": "x"})

    attempt = seal.attempts[0]
    assert (attempt.what, attempt.layer, attempt.verdict) == ("POST", Layer.PROTOCOL, "blocked")
    assert attempt.where == f"{web.url}?token=***&a=1"
    assert attempt.size == 61
    assert attempt.excerpt == '{"amount": 3, "card": "***", "password": "***"}'
    assert isinstance(caught.value, (Problem, PermissionError))
    assert (caught.value.errno, caught.value.code) == (1, "egress-blocked")


def test_nothing_is_let_through_to_a_wrong_endpoint() -> None:
    for wrong in ("host", "", "http://", "host:port", ":80"):
        with pytest.raises(Invalid):
            sealed([wrong])


def test_a_deadline_ends_the_wait() -> None:
    release = threading.Event()
    with sealed() as seal, pytest.raises(SealTimeout) as caught:
        seal.run(lambda: release.wait(30), deadline=0.05)
    release.set()
    assert isinstance(caught.value, TimeoutError)


def test_run_gives_back_values_and_exceptions() -> None:
    with sealed() as seal:
        assert seal.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            seal.run(lambda: 1 / 0)
        with pytest.raises(SystemExit):
            seal.run(lambda: sys.exit(3))


def test_nested_seals_both_have_to_allow(web: Web, world: World) -> None:
    with sealed([web.url]) as outer:
        with sealed([web.url, f"127.0.0.1:{world.mail.port}"]) as inner:
            connect(web.port)
            with pytest.raises(EgressBlocked):
                connect(world.mail.port)
        connect(web.port)
    assert len(outer.attempts) == len(inner.attempts) == 1
    connect(world.mail.port)


def test_attempts_are_bounded() -> None:
    with sealed(layers=[Layer.AUDIT]) as seal:
        for _ in range(MAX_ATTEMPTS + 5):
            with pytest.raises(EgressBlocked):
                os.kill(os.getpid(), 10)
    assert (len(seal.attempts), seal.dropped) == (MAX_ATTEMPTS, 5)


def test_a_seal_is_used_once_and_inside() -> None:
    seal = sealed()
    with pytest.raises(SealMisuse):
        seal.run(int)
    with seal:
        pass
    with pytest.raises(SealMisuse), seal:
        pass


def test_a_seal_that_is_left_elsewhere_seals_nobody_for_ever(web: Web) -> None:
    seal = sealed()
    context = contextvars.copy_context()
    context.run(seal.__enter__)
    with pytest.raises(EgressBlocked):
        context.run(connect, web.port)
    seal.__exit__(None, None, None)
    context.run(connect, web.port)


def test_a_live_call_in_a_sealed_block_says_what_watches_it() -> None:
    guard = Guard()
    act = guard.action("act", key="key", effect="idempotent")(lambda key: key)
    assert act.outcome("1").coverage == {}
    with guard.sealed() as seal:
        outcomes = [act.outcome("2"), act.outcome("2"), guard.outcome(act.declaration, ("3",), {})]
        assert seal.coverage.active
    assert all("sealed by" in one.coverage["egress"] for one in outcomes)
    guard.close()


def test_coverage_says_what_is_missing_and_why() -> None:
    with sealed(layers=PYTHON) as seal:
        pass
    assert seal.coverage.active == (Layer.PROTOCOL, Layer.AUDIT)
    assert seal.coverage.document()["L4"] == {"active": False, "reason": "not asked for"}
    assert "requests" in seal.coverage.layers[Layer.PROTOCOL].reason
    with sealed() as seal:
        pass
    assert "seal.run" in seal.coverage.layers[Layer.KERNEL].reason
