"""Smoke tests: run suites and wait for what came of them. Suites themselves are a registry (``SUITES``)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from valhalla.sdk.access import Model
from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request, params, present, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

SUITES: Final = "/system/deployment/smoke/suites"
_RUNS: Final = "/system/deployment/smoke/runs"
_PAUSE: Final = 0.25


class Attempt(Model, frozen=True, kw_only=True):
    """One try of one check; a failure says ``what`` was ``expected`` and what was ``actual``."""

    position: int
    attempt: int
    name: str
    ok: bool
    last: bool = True
    status: int | None = None
    latency_ms: float | None = None
    failures: tuple[dict[str, Any], ...] = ()
    at: datetime | None = None


class SmokeRun(Model, frozen=True, kw_only=True):
    """One run of a suite; ``results`` only when it was asked for by itself."""

    id: str
    suite: str
    status: str
    version: int = 0
    base_url: str = ""
    deployment: str | None = None
    actor: str = ""
    job: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    total: int = 0
    passed: int = 0
    failed: int = 0
    remedy: dict[str, Any] | None = None
    results: tuple[Attempt, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return self.status == "passed"


def run_suite(suite: str, *, base_url: str | None = None, deployment: str | None = None) -> Request[SmokeRun]:
    """Have a suite run."""
    body: Mapping[str, Any] = present(base_url=base_url, deployment=deployment)
    return Request("POST", f"{SUITES}/{segment(suite)}/run", SmokeRun, body=body)


def get_run(run: str) -> Request[SmokeRun]:
    """One run with every attempt so far."""
    return Request("GET", f"{_RUNS}/{segment(run)}", SmokeRun)


def list_runs(*, limit: int | None = None, cursor: str | None = None, **filters: object) -> Request[Page[SmokeRun]]:
    """One page: filters are ``suite``, ``status``, ``deployment``."""
    return Request("GET", _RUNS, Page[SmokeRun], params=params(limit=limit, cursor=cursor, **filters))


class Smoke:
    """Smoke tests."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(self, suite: str, *, base_url: str | None = None, deployment: str | None = None) -> SmokeRun:
        """Have a suite run, and do not wait."""
        return self._client.send(run_suite(suite, base_url=base_url, deployment=deployment))

    def run(
        self, suite: str, *, base_url: str | None = None, deployment: str | None = None, patience: float = 900
    ) -> SmokeRun:
        """Have a suite run and wait for its end.

        Raises:
            TimeoutError: it has not ended within ``patience`` seconds; it goes on.
        """
        run = self.start(suite, base_url=base_url, deployment=deployment)
        ends = time.monotonic() + patience
        while (found := self.get(run.id)).finished_at is None:
            if time.monotonic() > ends:
                raise TimeoutError(f"the smoke run {run.id} has not ended within {patience:g} s")
            time.sleep(_PAUSE)
        return found

    def get(self, run: str) -> SmokeRun:
        """Return a run with every attempt so far."""
        return self._client.send(get_run(run))

    def iterate(self, **filters: object) -> Iterator[SmokeRun]:
        """Every run that fits ``suite``, ``status`` and ``deployment``, the newest first."""
        return pages(self._client.send, lambda cursor: list_runs(limit=100, cursor=cursor, **filters))


class AsyncSmoke:
    """Smoke tests."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def start(self, suite: str, *, base_url: str | None = None, deployment: str | None = None) -> SmokeRun:
        """Have a suite run, and do not wait."""
        return await self._client.send(run_suite(suite, base_url=base_url, deployment=deployment))

    async def run(
        self, suite: str, *, base_url: str | None = None, deployment: str | None = None, patience: float = 900
    ) -> SmokeRun:
        """Have a suite run and wait for its end.

        Raises:
            TimeoutError: it has not ended within ``patience`` seconds; it goes on.
        """
        # the blocking client does without it, and starts the sooner
        import asyncio

        run = await self.start(suite, base_url=base_url, deployment=deployment)
        ends = time.monotonic() + patience
        while (found := await self.get(run.id)).finished_at is None:
            if time.monotonic() > ends:
                raise TimeoutError(f"the smoke run {run.id} has not ended within {patience:g} s")
            await asyncio.sleep(_PAUSE)
        return found

    async def get(self, run: str) -> SmokeRun:
        """Return a run with every attempt so far."""
        return await self._client.send(get_run(run))

    def iterate(self, **filters: object) -> AsyncIterator[SmokeRun]:
        """Every run that fits ``suite``, ``status`` and ``deployment``, the newest first."""
        return apages(self._client.send, lambda cursor: list_runs(limit=100, cursor=cursor, **filters))
