"""Bouncers and agents as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from valhalla.kit.http import WireModel


class BouncerOut(WireModel):
    """A key that pulls decisions from an address."""

    client_id: str
    address: str
    agent: str | None = Field(description="what it calls itself")
    behind: int | None = Field(description="changes that it has not been told; None before its first pull")
    first_pull_at: datetime
    last_pull_at: datetime
    usage: Any = Field(description="the last metrics that it sent")


class BouncersOut(WireModel):
    """The last to pull first."""

    items: list[BouncerOut]


class AgentOut(WireModel):
    """A CrowdSec agent."""

    client_id: str
    machine_id: str
    agent: str | None
    address: str | None
    scenarios: list[str]
    logged_in_at: datetime
    heartbeat_at: datetime | None
    usage: Any


class AgentsOut(WireModel):
    """The last to log in first."""

    items: list[AgentOut]
