"""Jobs in the console: why one failed, how the queues are, what is retried, how far one is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
from tests.server.console.desk import HOSTILE, Desk
from tests.server.console.visitor import FORM, tags_of
from tests.server.plane import Plane

from valhalla.work import JobContext, Jobs, Retry, Worker

GO_ON = threading.Event()


@pytest.fixture(scope="module")
async def program(plane: Plane) -> AsyncIterator[None]:
    """A worker of somebody's own program."""
    jobs = Jobs()

    @jobs.job("pages.fails", queue="pages", retry=Retry(attempts=1))
    def fails() -> None:
        raise ValueError(f"{HOSTILE} postgresql://me:hunter22@db/x")

    @jobs.job("pages.goes", queue="pages")
    def goes(ctx: JobContext) -> None:
        ctx.progress(0.25, "a quarter")
        GO_ON.wait(60)
        ctx.progress(0.75, HOSTILE)
        ctx.check()

    stop = asyncio.Event()
    task = asyncio.create_task(Worker(plane.runtime.db, jobs, poll=0.2, beat=0.1).run(stop))
    client = plane.client(await plane.admin_key())
    async with asyncio.timeout(20):
        while "pages.goes" not in (await client.get("/system/jobs/kinds")).text:
            await asyncio.sleep(0.02)
    yield
    GO_ON.set()
    stop.set()
    await task


async def made(admin: httpx.AsyncClient, name: str, until: str, **body: Any) -> dict[str, Any]:
    answer = await admin.post("/system/jobs", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    async with asyncio.timeout(20):
        while until not in (job := (await admin.get(answer.headers["location"])).json())["status"]:
            await asyncio.sleep(0.02)
    return job


@pytest.mark.usefixtures("program")
async def test_a_failed_job_shows_where_it_failed(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    job = await made(admin, "pages.fails", "dead")
    page = (await chief.get(f"/console/jobs/{job['id']}")).text
    found = re.search(r'<pre tabindex="0" aria-label="Traceback"><bdi>(.*?)</bdi></pre>', page, re.DOTALL)
    assert found is not None
    assert unescape(found[1]) == job["error"]["traceback"]
    assert "in fails" in found[1]
    assert "&lt;script&gt;" in found[1]
    for text in ("hunter22", "<script>window", "<img src=x"):
        assert text not in page
    # where there are many, there is none
    listed = (await admin.get("/system/jobs", params={"name": "pages.fails"})).json()["items"]
    assert [sorted(one["error"]) for one in listed] == [["code", "detail", "type"]]
    assert "Traceback (most" not in (await chief.get("/console/jobs?name=pages.fails")).text


@pytest.mark.usefixtures("program")
async def test_the_queues_stand_above_the_jobs(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, plane: Plane
) -> None:
    await made(admin, "pages.fails", "queued", delay=3600)
    await made(admin, "pages.fails", "dead")
    answer = (await admin.get("/system/jobs/queues")).json()
    [queue] = [one for one in answer["items"] if one["name"] == "pages"]
    assert queue["waiting"] >= 1
    assert queue["dead"] >= 1
    assert queue["alive"]
    for path in ("/console/jobs", "/console/part/queues"):
        page = unescape((await chief.get(path)).text)
        for status in ("queued", "dead"):
            assert f'href="/console/jobs?status={status}&queue=pages"' in page, path
    part = (await chief.get("/console/part/queues", headers={"HX-Request": "true"})).text
    [section] = [members for tag, members in tags_of(part) if tag == "section"]
    assert (section["data-topics"], section["hx-get"]) == ("job", "/console/part/queues")
    assert (await plane.client().get("/system/jobs/queues")).status_code == 401


def chosen(page: str) -> list[str]:
    found = re.search(r'<select[^>]*name="status"[^>]*>(.*?)</select>', page, re.DOTALL)
    assert found is not None
    return re.findall(r"<option selected>([^<]*)</option>", found[1])


@pytest.mark.usefixtures("program")
async def test_what_is_retried_is_what_was_looked_at(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    name = "pages.fails"
    dead = await made(admin, name, "dead")
    do = "/console/do/jobs/retry-all"
    assert chosen((await chief.get(f"{do}?status=dead&name={name}")).text) == ["dead"]
    assert chosen((await chief.get(f"{do}?status=held")).text) == ["held"]
    for query in ("", "?status=queued", "?status=running&name=pages.fails"):
        page = (await chief.get(do + query)).text
        # an empty choice stands first: the browser takes no other by itself, and does not send it
        assert "dead" not in chosen(page), query
        assert re.search(r'name="status" required><option[^>]*></option>', page), query
        assert "Only dead, cancelled and held jobs can be retried" in page
    form = unescape(FORM.search((await chief.get(do)).text)[1])  # type: ignore[index]
    for status, told in (("", "&#39;status&#39; is missing"), ("queued", "dead")):
        refused = await chief.post(do, data={"_form": form, "status": status, "name": name})
        assert refused.status_code == 422, status
        assert told in refused.text, status
    assert (await admin.get(f"/system/jobs/{dead['id']}")).json()["status"] == "dead"


@pytest.mark.usefixtures("program")
async def test_a_running_job_tells_how_far_it_is(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    GO_ON.clear()
    try:
        job = await made(admin, "pages.goes", "running")
        path = f"/console/jobs/{job['id']}"
        async with asyncio.timeout(20):
            while "a quarter" not in (page := (await chief.get(path, headers={"HX-Request": "true"})).text):
                await asyncio.sleep(0.05)
        state = [members for tag, members in tags_of(page) if members.get("id") == "job-state"]
        assert [(one["data-topics"], one["hx-get"], one["hx-select"]) for one in state] == [("job", path, "#job-state")]
        assert '<progress max="1" value="0.25"' in page
        assert "25 %" in page
    finally:
        GO_ON.set()
    await made(admin, "pages.fails", "dead")
    async with asyncio.timeout(20):
        while "75 %" not in (page := (await chief.get(path)).text):
            await asyncio.sleep(0.05)
    assert "<script>window" not in page


async def said(site: str, key: str, *words: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "valhalla.cli", "--url", site, *words),
        env={**env, "VALHALLA_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()


@pytest.mark.usefixtures("program")
async def test_the_command_line_tells_the_same(site: str, chief_key: str, admin: httpx.AsyncClient) -> None:
    job = await made(admin, "pages.fails", "dead")
    shown = await said(site, chief_key, "job", "show", job["id"])
    lines = [line.strip() for line in job["error"]["traceback"].splitlines()]
    assert [line.strip() for line in shown.splitlines()][-len(lines) :] == lines
    assert json.loads(await said(site, chief_key, "job", "show", job["id"], "--json"))["error"] == job["error"]
    found = json.loads(await said(site, chief_key, "job", "queues", "--json"))
    assert "pages" in [queue["name"] for queue in found["items"]]
    table = await said(site, chief_key, "job", "queues")
    assert re.search(r"^pages +[0-9]+ .* yes$", table, re.MULTILINE), table


@pytest.mark.slow
@pytest.mark.usefixtures("program")
async def test_progress_appears_by_itself(desk: Desk, admin: httpx.AsyncClient) -> None:
    GO_ON.clear()
    try:
        job = await made(admin, "pages.goes", "running")
        await desk.open(f"jobs/{job['id']}")
        await desk.page.wait_for_selector("#live:text-is('live')")
        await desk.page.mouse.move(0, 0)
        await desk.page.wait_for_selector("#job-state >> text=a quarter", timeout=10_000)
        assert await desk.too_wide() <= 0
        assert await desk.grave() == []
        GO_ON.set()
        await desk.page.wait_for_selector("#job-state >> text=succeeded", timeout=10_000)
        await desk.page.wait_for_selector("#job >> text=succeeded", timeout=10_000)
        assert await desk.page.evaluate("window.hurt") is None
    finally:
        GO_ON.set()


@pytest.mark.slow
@pytest.mark.usefixtures("program")
async def test_the_queues_change_by_themselves(desk: Desk, admin: httpx.AsyncClient) -> None:
    await made(admin, "pages.fails", "dead")
    await desk.open("jobs")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await desk.page.mouse.move(0, 0)
    dead = desk.page.locator("#queues tr:has-text('pages') td[data-label=dead]")
    before = int((await dead.inner_text()).replace(",", ""))
    assert await desk.grave() == []
    await made(admin, "pages.fails", "dead")
    await desk.page.wait_for_function(
        """before => [...document.querySelectorAll('#queues tr')].some(row => row.textContent.trim().startsWith('pages')
        && Number(row.querySelector('[data-label=dead]').textContent) > before)""",
        arg=before,
        timeout=10_000,
    )
