"""Lanes: each job waits where only workers that know its name look; and what every worker knows is written down.

Indexes and the log of pgqueuer that nothing here reads are given up: they cost a third of the writes.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UP = (
    # the entrypoint under which the job waits; without one, from before this step, it is the queue's name
    "ALTER TABLE valhalla.jobs ADD COLUMN lane text",
    """
    CREATE TABLE valhalla.job_kinds (
        name text CONSTRAINT pk_job_kinds PRIMARY KEY,
        queue text NOT NULL,
        lane text NOT NULL,
        timeout double precision,
        parameters jsonb NOT NULL,
        seen_at timestamptz NOT NULL
    )
    """,
    "DROP INDEX valhalla.ix_jobs_worker",
    "DROP INDEX valhalla.pgqueuer_priority_id_id1_idx",
    "DROP INDEX valhalla.pgqueuer_updated_id_id1_idx",
    "DROP INDEX valhalla.pgqueuer_log_job_id_status",
    "DROP INDEX valhalla.pgqueuer_log_not_aggregated",
    "DROP INDEX valhalla.pgqueuer_log_status",
    # the dequeue statement writes a row for each job
    """
    CREATE FUNCTION valhalla.fn_nothing() RETURNS TRIGGER AS $$ BEGIN RETURN NULL; END $$ LANGUAGE plpgsql
    """,
    """
    CREATE TRIGGER tg_pgqueuer_log_nothing BEFORE INSERT ON valhalla.pgqueuer_log
    FOR EACH ROW EXECUTE FUNCTION valhalla.fn_nothing()
    """,
    # a dead man's switch: runs that begin and end, and what a failed one said
    """
    ALTER TABLE valhalla.heartbeats
        ADD COLUMN grace double precision,
        ADD COLUMN started_at timestamptz,
        ADD COLUMN took double precision,
        ADD COLUMN reason text
    """,
)
_DOWN = (
    "ALTER TABLE valhalla.heartbeats DROP COLUMN grace, DROP COLUMN started_at, DROP COLUMN took, DROP COLUMN reason",
    "DROP TRIGGER tg_pgqueuer_log_nothing ON valhalla.pgqueuer_log",
    "DROP FUNCTION valhalla.fn_nothing()",
    "CREATE INDEX pgqueuer_log_status ON valhalla.pgqueuer_log USING btree (status)",
    "CREATE INDEX pgqueuer_log_not_aggregated ON valhalla.pgqueuer_log USING btree ((1)) WHERE (NOT aggregated)",
    "CREATE INDEX pgqueuer_log_job_id_status ON valhalla.pgqueuer_log USING btree (job_id, created DESC)",
    (
        "CREATE INDEX pgqueuer_updated_id_id1_idx ON valhalla.pgqueuer USING btree (updated, id DESC) INCLUDE (id)"
        " WHERE (status = 'picked'::valhalla.pgqueuer_status)"
    ),
    (
        "CREATE INDEX pgqueuer_priority_id_id1_idx ON valhalla.pgqueuer USING btree (priority, id DESC) INCLUDE (id)"
        " WHERE (status = 'queued'::valhalla.pgqueuer_status)"
    ),
    "CREATE INDEX ix_jobs_worker ON valhalla.jobs (worker) WHERE status = 'running'",
    "DROP TABLE valhalla.job_kinds",
    # what waits in a lane would be found by nobody
    "UPDATE valhalla.pgqueuer AS q SET entrypoint = j.queue FROM valhalla.jobs AS j WHERE j.id = q.dedupe_key",
    "ALTER TABLE valhalla.jobs DROP COLUMN lane",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
