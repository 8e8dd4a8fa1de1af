"""Whose calls a block holds: those of its own thread or task, and of what begins inside."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests
import requests.adapters
from tests.guard.egress.world import Web, connect

from valhalla.guard.egress import EgressBlocked, sealed


def test_other_threads_and_tasks_go_on(web: Web) -> None:
    inside, finished = threading.Event(), threading.Event()
    results: list[int] = []

    def other() -> None:
        inside.wait(10)
        results.append(requests.post(web.url, data=b"x").status_code)
        finished.set()

    thread = threading.Thread(target=other)
    thread.start()
    with sealed() as seal:
        inside.set()
        assert finished.wait(10)
    thread.join()
    assert (results, seal.attempts) == ([200], ())


async def test_an_async_block_is_its_own_task_alone(web: Web) -> None:
    inside, finished = asyncio.Event(), asyncio.Event()

    async def other() -> int:
        await inside.wait()
        async with httpx.AsyncClient() as client:
            answer = await client.post(web.url, content=b"x")
        finished.set()
        return answer.status_code

    task = asyncio.create_task(other())
    async with sealed() as seal:
        inside.set()
        await finished.wait()
        with pytest.raises(EgressBlocked):
            async with httpx.AsyncClient() as client:
                await client.post(web.url, content=b"x")
    assert (await task, len(seal.attempts)) == (200, 1)


def test_a_pool_is_not_poisoned_by_a_task_from_inside(web: Web) -> None:
    with ThreadPoolExecutor(1) as pool:
        with sealed():
            # the pool's one worker is born here
            with pytest.raises(EgressBlocked):
                pool.submit(connect, web.port).result()
            worker = pool.submit(threading.get_ident).result()
        pool.submit(connect, web.port).result()
        assert pool.submit(threading.get_ident).result() == worker


def test_what_begins_inside_stays_sealed_after_the_block(web: Web) -> None:
    leave = threading.Event()
    raised: list[BaseException] = []

    def late() -> None:
        leave.wait(10)
        try:
            connect(web.port)
        except OSError as error:
            raised.append(error)

    with sealed() as seal:
        thread = threading.Thread(target=late)
        thread.start()
    leave.set()
    thread.join()
    assert [type(error) for error in raised] == [EgressBlocked]
    assert len(seal.attempts) == 1


def test_processes_of_a_pool_are_out_of_reach() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool, sealed(), pytest.raises(EgressBlocked):
        pool.submit(os.getpid)
