"""Deployments, and runs of smoke tests with every attempt of every check."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.deployments (
        id text CONSTRAINT pk_deployments PRIMARY KEY,
        environment text NOT NULL,
        service text NOT NULL,
        version text NOT NULL,
        commit text,
        committed_at timestamptz,
        status text NOT NULL,
        actor text NOT NULL,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        failed_at timestamptz,
        rollback_of text CONSTRAINT fk_deployments_rollback_of_deployments REFERENCES valhalla.deployments,
        rolled_back_by text,
        smoke_run text,
        verdict text,
        revisions jsonb NOT NULL,
        notes text
    )
    """,
    "CREATE INDEX ix_deployments_created ON valhalla.deployments (created_at DESC, id DESC)",
    "CREATE INDEX ix_deployments_place ON valhalla.deployments (environment, service, finished_at DESC)",
    "CREATE INDEX ix_deployments_finished ON valhalla.deployments (finished_at) WHERE finished_at IS NOT NULL",
    """
    CREATE TABLE valhalla.smoke_runs (
        id text CONSTRAINT pk_smoke_runs PRIMARY KEY,
        suite text NOT NULL,
        version bigint NOT NULL,
        declared jsonb NOT NULL,
        base_url text NOT NULL,
        deployment text,
        status text NOT NULL,
        actor text NOT NULL,
        job text,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        total integer NOT NULL,
        passed integer NOT NULL,
        failed integer NOT NULL,
        remedy jsonb
    )
    """,
    "CREATE INDEX ix_smoke_runs_created ON valhalla.smoke_runs (created_at DESC, id DESC)",
    "CREATE INDEX ix_smoke_runs_suite ON valhalla.smoke_runs (suite, created_at DESC)",
    "CREATE INDEX ix_smoke_runs_open ON valhalla.smoke_runs (created_at) WHERE finished_at IS NULL",
    """
    CREATE TABLE valhalla.smoke_results (
        run text NOT NULL CONSTRAINT fk_smoke_results_run_smoke_runs
            REFERENCES valhalla.smoke_runs ON DELETE CASCADE,
        position integer NOT NULL,
        attempt integer NOT NULL,
        name text NOT NULL,
        ok boolean NOT NULL,
        last boolean NOT NULL,
        status integer,
        latency_ms double precision,
        failures jsonb NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_smoke_results PRIMARY KEY (run, position, attempt)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("smoke_results", "smoke_runs", "deployments"):
        op.execute(f"DROP TABLE valhalla.{table}")
