"""Exports with how far each is, purges with their proof, and the masking of what is exported."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.export_jobs (
        id text COLLATE "C" CONSTRAINT pk_export_jobs PRIMARY KEY,
        source text NOT NULL,
        format text NOT NULL,
        compression text NOT NULL,
        profile text NOT NULL,
        columns jsonb NOT NULL,
        conditions jsonb NOT NULL,
        since timestamptz,
        until timestamptz,
        status text NOT NULL CONSTRAINT ck_export_jobs_status
            CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
        actor text NOT NULL,
        owner text NOT NULL,
        scope text NOT NULL,
        reason text,
        job text,
        query jsonb,
        place jsonb,
        estimate bigint,
        rows bigint NOT NULL DEFAULT 0,
        read bigint NOT NULL DEFAULT 0,
        written bigint NOT NULL DEFAULT 0,
        files jsonb NOT NULL DEFAULT '[]',
        manifest jsonb,
        store text NOT NULL,
        error jsonb,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        seen_at timestamptz,
        expires_at timestamptz,
        removed_at timestamptz
    )
    """,
    "CREATE INDEX ix_export_jobs_created ON valhalla.export_jobs (created_at DESC, id DESC)",
    "CREATE INDEX ix_export_jobs_open ON valhalla.export_jobs (seen_at) WHERE finished_at IS NULL",
    """
    CREATE INDEX ix_export_jobs_expiring ON valhalla.export_jobs (expires_at)
        WHERE expires_at IS NOT NULL AND removed_at IS NULL
    """,
    """
    CREATE TABLE valhalla.retention_runs (
        id text COLLATE "C" CONSTRAINT pk_retention_runs PRIMARY KEY,
        category text NOT NULL,
        status text NOT NULL CONSTRAINT ck_retention_runs_status
            CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'blocked')),
        actor text NOT NULL,
        reason text,
        cutoff timestamptz NOT NULL,
        policy jsonb NOT NULL,
        most bigint,
        job text,
        export text,
        rows bigint NOT NULL DEFAULT 0,
        batches integer NOT NULL DEFAULT 0,
        days jsonb NOT NULL DEFAULT '[]',
        oldest timestamptz,
        newest timestamptz,
        digest text,
        held bigint,
        error jsonb,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz
    )
    """,
    "CREATE INDEX ix_retention_runs_created ON valhalla.retention_runs (created_at DESC, id DESC)",
    """
    CREATE UNIQUE INDEX uq_retention_runs_open ON valhalla.retention_runs (category)
        WHERE status IN ('pending', 'running')
    """,
    # keys of ours, web tokens, key files, seeds, and passwords in addresses; the same forms that kit.redact knows
    r"""
    CREATE FUNCTION valhalla.masked_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT regexp_replace(
            regexp_replace(value,
                '-----BEGIN [A-Z ]*-----.*?(-----END [A-Z ]*-----|\Z)'
                || '|\yvh_[A-Za-z0-9_-]{8,}'
                || '|\yeyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?'
                || '|\yS[OAUNC][A-Z2-7]{54,}', '***', 'g'),
            '(://[^\s/?#@:]*):([^\s/?#]*)@', '\1:***@', 'g')
    $$
    """,
    r"""
    CREATE FUNCTION valhalla.masked(value jsonb, names text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE jsonb_typeof(value)
            WHEN 'object' THEN (
                SELECT coalesce(jsonb_object_agg(key, CASE
                    WHEN lower(key) ~ names AND jsonb_typeof(member) NOT IN ('boolean', 'null') THEN '"***"'::jsonb
                    ELSE valhalla.masked(member, names) END), '{}')
                FROM jsonb_each(value) AS each (key, member))
            WHEN 'array' THEN (
                SELECT coalesce(jsonb_agg(valhalla.masked(member, names) ORDER BY place), '[]')
                FROM jsonb_array_elements(value) WITH ORDINALITY AS each (member, place))
            WHEN 'string' THEN to_jsonb(valhalla.masked_text(value #>> '{}'))
            ELSE value END
    $$
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        # the driver would take a colon for a parameter
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION valhalla.masked")
    op.execute("DROP FUNCTION valhalla.masked_text")
    for table in ("retention_runs", "export_jobs"):
        op.execute(f"DROP TABLE valhalla.{table}")
