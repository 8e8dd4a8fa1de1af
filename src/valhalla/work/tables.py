"""The tables of background work (migrations 0008 and 0011); the queue's own are known to ``engine`` alone."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)
_open = sa.text("dedup_key IS NOT NULL AND status IN ('queued', 'running', 'held')")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    # where it waits in the engine; jobs from before there were lanes have none and wait under their queue's name
    sa.Column("lane", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("args", JSONB, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("dedup_key", sa.Text),
    sa.Column("correlation_id", sa.Text),
    sa.Column("timeout", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    # counts the times that somebody began it: who began it last is the only one whose outcome counts
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    sa.Column("worker", UUID(as_uuid=True)),
    sa.Column("progress", JSONB),
    sa.Column("result", JSONB),
    sa.Column("error", JSONB),
    sa.Column("effect", sa.Text),
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("run_at", _instant, nullable=False),
    sa.Column("started_at", _instant),
    sa.Column("finished_at", _instant),
    sa.Column("cancel_requested_at", _instant),
    sa.Column("traceparent", sa.Text),
    sa.Index("uq_jobs_dedup", "name", "dedup_key", unique=True, postgresql_where=_open),
    sa.Index("ix_jobs_status", "status", "id"),
    sa.Index("ix_jobs_name", "name", "id"),
    sa.Index("ix_jobs_finished", "finished_at", postgresql_where=sa.text("finished_at IS NOT NULL")),
)

job_starts = sa.Table(
    "job_starts",
    metadata,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("starts", ARRAY(_instant), nullable=False),
)

job_kinds = sa.Table(
    "job_kinds",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("timeout", sa.Double),
    sa.Column("parameters", JSONB, nullable=False),
    # when a live worker last said that it knows the job
    sa.Column("seen_at", _instant, nullable=False),
)

worker_drains = sa.Table(
    "worker_drains",
    metadata,
    # the name of its heartbeat
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_at", _instant, nullable=False, server_default=sa.func.clock_timestamp()),
    # what the worker says: when it last looked, what still runs there, and since when nothing does
    sa.Column("seen_at", _instant),
    sa.Column("running", sa.Integer),
    sa.Column("drained_at", _instant),
)
