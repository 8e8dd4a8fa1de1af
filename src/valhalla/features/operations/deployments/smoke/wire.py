"""Smoke tests on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from valhalla.features.operations.deployments.smoke.contracts import Action, Attempt, Method, Op, Run, RunStatus
from valhalla.kit.http import WireModel

_Name = Annotated[str, Field(min_length=1, max_length=100)]
_Value = Annotated[str, Field(max_length=2000)]
_Url = Annotated[str, Field(min_length=8, max_length=500)]
EXAMPLE: dict[str, Any] = {
    "base_url": "https://api.example",
    "checks": [{"name": "alive", "path": "/live", "jsonpath": [{"path": "$.status", "op": "equals", "value": "ok"}]}],
}


class JsonCheckModel(WireModel):
    """What must hold of the values that a path finds."""

    path: str = Field(max_length=500, examples=["$.items[0].name"], description="names, indices and [*] after $")
    op: Op = Field("exists", description="equals, contains, type, at_least, at_most: of each value found, and of one")
    value: Any = Field(None, description="what it is compared with")


class CheckModel(WireModel):
    """One request and what its answer must be."""

    name: _Name
    path: str = Field(min_length=1, max_length=1000, examples=["/live"], description="after the base URL")
    method: Method = "GET"
    headers: dict[_Name, _Value] = Field(
        default={}, max_length=30, description="${SMOKE_…} stands for a variable of the control plane's environment"
    )
    body: Any = Field(None, description="a text, or a value that is sent as JSON")
    status: list[int] = Field(default=[200], min_length=1, max_length=20)
    expect_headers: dict[_Name, _Value] = Field(default={}, max_length=30, description="'*': any value")
    jsonpath: list[JsonCheckModel] = Field(default=[], max_length=50)
    latency_ms: int | None = Field(None, ge=1, le=60_000, description="a slower answer is a failure")
    timeout: float = Field(10.0, ge=0.05, le=60, description="seconds of one attempt, to the last byte")
    retries: int = Field(0, ge=0, le=5)
    pause: float = Field(1.0, ge=0, le=30, description="seconds between attempts")


class UndoModel(WireModel):
    """What a failed run changes, once."""

    action: Action = Field(description="bring back a revision, or disable one record")
    registry: str = Field(max_length=64, examples=["flags"])
    key: str | None = Field(None, max_length=512, description="one record; all when absent")
    revision: int | None = Field(None, ge=0, description="when absent that of when the linked deployment was recorded")


class SuiteModel(WireModel):
    """A suite as clients write it."""

    base_url: _Url = Field(examples=["https://api.example"], description="under one of the setting smoke_targets")
    checks: list[CheckModel] = Field(min_length=1, max_length=200)
    concurrency: int = Field(4, ge=1, le=16, description="requests at once")
    timeout: float = Field(120.0, ge=0.1, le=900, description="seconds of a whole run")
    max_body: int = Field(1_048_576, ge=0, le=16_777_216, description="bytes of an answer that are read at most")
    cron: str | None = Field(None, max_length=100, examples=["*/5 * * * *"], description="when it runs by itself")
    timezone: str = Field("UTC", max_length=64)
    on_failure: UndoModel | None = None
    description: str | None = Field(None, max_length=500)


class RunIn(WireModel):
    """How to run a suite."""

    base_url: _Url | None = Field(None, description="another declared target; the suite's own when absent")
    deployment: str | None = Field(None, max_length=64, description="whose verdict this run is")
    model_config = {"json_schema_extra": {"examples": [{"deployment": "k3v9x0q2m1n8b7c6"}]}}


class RunOut(WireModel):
    """One run of a suite."""

    id: str
    suite: str
    version: int = Field(description="of the suite as it was then")
    base_url: str
    deployment: str | None
    status: RunStatus = Field(description="lost: its job never finished it")
    actor: str
    job: str | None = Field(description="/system/jobs/… tells its progress")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    passed: int
    failed: int
    remedy: dict[str, Any] | None = Field(description="what was changed because it failed")

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the model of a run."""
        return cls(**{name: getattr(run, name) for name in RunOut.model_fields})


class AttemptOut(WireModel):
    """One try of one check."""

    position: int
    attempt: int
    name: str
    ok: bool
    last: bool = Field(description="no other attempt follows")
    status: int | None
    latency_ms: float | None
    failures: list[dict[str, Any]]
    at: datetime


class RunDetailOut(RunOut):
    """A run with every attempt so far."""

    results: list[AttemptOut]

    @classmethod
    def detail(cls, run: Run, results: list[Attempt]) -> Self:
        """Return the model of a run and its attempts."""
        fields = AttemptOut.model_fields
        items = [AttemptOut(**{name: _plain(getattr(one, name)) for name in fields}) for one in results]
        return cls(**dict(RunOut.of(run)), results=items)


class RunPage(WireModel):
    """One page of runs, the newest first."""

    items: list[RunOut]
    next: str | None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
