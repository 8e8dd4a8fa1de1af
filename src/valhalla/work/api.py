"""``/system/jobs``: submit, watch, cancel and replay background jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.work.desk import JobDesk
from valhalla.work.wire import (
    JobIn,
    JobOut,
    JobPage,
    JobsIn,
    KindList,
    KindOut,
    QueueList,
    ReplayIn,
    ReplayOut,
    StatusFilter,
    SubmittedOut,
    SubmittedPage,
)

Reader = Annotated[Principal, requires("jobs:read")]
Writer = Annotated[Principal, requires("jobs:write")]
JobId = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9]+$", examples=["mwq4tib4w2ufk335"])]


def router(desk: JobDesk) -> APIRouter:
    """Return the routes over ``desk``."""
    routes = APIRouter(prefix="/system/jobs", tags=["jobs"], responses=PROBLEMS, route_class=StrictRoute)
    _many(routes, desk)

    @routes.get("/{job_id}")
    async def get(job_id: JobId, principal: Reader) -> JobOut:
        """Show one job with its progress, result or error."""
        return JobOut.of(await desk.read(job_id))

    @routes.post("/{job_id}/cancel")
    async def cancel(job_id: JobId, principal: Writer) -> JobOut:
        """Cancel a job: one that waits never runs, one that runs is asked to end; a finished one stays as it is."""
        return JobOut.of(await desk.cancel(principal, job_id))

    @routes.post("/{job_id}/retry")
    async def retry(job_id: JobId, principal: Writer) -> JobOut:
        """Put a dead, cancelled or held job back into its queue, with all its attempts."""
        return JobOut.of(await desk.replay(principal, job_id))

    return routes


def _many(routes: APIRouter, desk: JobDesk) -> None:
    @routes.get("")
    async def list_jobs(
        principal: Reader,
        status: Annotated[list[StatusFilter] | None, Query()] = None,
        name: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
        queue: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> JobPage:
        """List jobs, newest first."""
        page = await desk.page(statuses=status or (), name=name, queue=queue, limit=limit, cursor=cursor)
        return JobPage(items=[JobOut.of(job) for job in page.items], next=page.next)

    @routes.post("", status_code=201, responses={200: {"model": SubmittedOut}})
    async def submit(body: JobIn, response: Response, principal: Writer) -> SubmittedOut:
        """Submit a job; 200 when an unfinished one has its dedup key."""
        (made,) = await desk.submit(principal, [body.request()])
        response.status_code = 201 if made.created else 200
        response.headers["Location"] = f"/system/jobs/{made.id}"
        return SubmittedOut(id=made.id, created=made.created)

    @routes.post("/bulk", status_code=201)
    async def submit_many(body: JobsIn, principal: Writer) -> SubmittedPage:
        """Submit several jobs, all or none."""
        made = await desk.submit(principal, [one.request() for one in body.jobs])
        return SubmittedPage(items=[SubmittedOut(id=one.id, created=one.created) for one in made])

    @routes.get("/kinds")
    async def kinds(principal: Reader) -> KindList:
        """List the jobs that workers have announced, and can be submitted."""
        return KindList(items=[KindOut.of(kind) for kind in await desk.kinds()])

    @routes.get("/queues")
    async def queues(principal: Reader) -> QueueList:
        """List the queues: how many jobs wait, run, are held or dead, and how long the oldest has waited."""
        return QueueList.of(await desk.queues())

    @routes.post("/retry")
    async def retry_many(body: ReplayIn, principal: Writer, dry_run: bool = False) -> ReplayOut:
        """Put every job that matches back into its queue, a thousand at a time; with ``dry_run`` only count them."""
        matched, ids = await desk.replay_many(
            principal, status=body.status, name=body.name, queue=body.queue, dry_run=dry_run
        )
        return ReplayOut(dry_run=dry_run, matched=matched, replayed=ids)
