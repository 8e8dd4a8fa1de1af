"""Log lines and spans by day; jobs and events know the trace that they belong to."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE SEQUENCE valhalla.system_logs_id",
    # the words are kept: to make them for every row that a search looks at costs more than all the rest of it
    """
    CREATE TABLE valhalla.system_logs (
        at timestamptz NOT NULL,
        id bigint NOT NULL DEFAULT nextval('valhalla.system_logs_id'),
        level smallint NOT NULL,
        origin text NOT NULL,
        category text NOT NULL,
        message text NOT NULL,
        correlation_id text,
        trace_id text,
        principal text,
        owner text,
        context jsonb,
        words tsvector GENERATED ALWAYS AS
            (to_tsvector('simple'::regconfig, regexp_replace(message, '[^a-zA-Z0-9\\u0080-\\uffff]+', ' ', 'g')))
            STORED,
        CONSTRAINT pk_system_logs PRIMARY KEY (at, id)
    ) PARTITION BY RANGE (at)
    """,
    "CREATE INDEX ix_system_logs_warnings ON valhalla.system_logs (at, id) WHERE level >= 30",
    "CREATE INDEX ix_system_logs_errors ON valhalla.system_logs (at, id) WHERE level >= 40",
    "CREATE INDEX ix_system_logs_category ON valhalla.system_logs (category, at, id)",
    "CREATE INDEX ix_system_logs_principal ON valhalla.system_logs (principal, at, id) WHERE principal IS NOT NULL",
    """
    CREATE INDEX ix_system_logs_correlation ON valhalla.system_logs (correlation_id, at, id)
        WHERE correlation_id IS NOT NULL
    """,
    "CREATE INDEX ix_system_logs_words ON valhalla.system_logs USING gin (words)",
    """
    CREATE TABLE valhalla.trace_spans (
        at timestamptz NOT NULL,
        trace_id text NOT NULL,
        span_id text NOT NULL,
        parent_id text,
        entry boolean NOT NULL,
        service text NOT NULL,
        name text NOT NULL,
        kind text NOT NULL,
        status text NOT NULL,
        started_at timestamptz NOT NULL,
        seconds double precision NOT NULL,
        correlation_id text,
        principal text,
        attributes jsonb
    ) PARTITION BY RANGE (at)
    """,
    "CREATE INDEX ix_trace_spans_trace ON valhalla.trace_spans (trace_id, started_at)",
    "CREATE INDEX ix_trace_spans_entries ON valhalla.trace_spans (at, span_id) WHERE entry",
    "CREATE INDEX ix_trace_spans_failed ON valhalla.trace_spans (at, span_id) WHERE entry AND status = 'error'",
    "CREATE INDEX ix_trace_spans_name ON valhalla.trace_spans (name, at, span_id) WHERE entry",
    "ALTER TABLE valhalla.jobs ADD COLUMN traceparent text",
    "ALTER TABLE valhalla.events ADD COLUMN traceparent text",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE valhalla.events DROP COLUMN traceparent")
    op.execute("ALTER TABLE valhalla.jobs DROP COLUMN traceparent")
    op.execute("DROP TABLE valhalla.trace_spans")
    op.execute("DROP TABLE valhalla.system_logs")
    op.execute("DROP SEQUENCE valhalla.system_logs_id")
