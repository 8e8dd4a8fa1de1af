"""The sandbox registry: sandboxes, their routes, and what the reaper suspects to be an orphan."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UP = """
CREATE TABLE valhalla.sandboxes (
    id text CONSTRAINT pk_sandboxes PRIMARY KEY,
    name text NOT NULL,
    owner text NOT NULL,
    status text NOT NULL,
    template text NOT NULL,
    description text,
    tags text[] NOT NULL,
    metadata jsonb NOT NULL,
    pg_database text NOT NULL,
    pg_schema text NOT NULL CONSTRAINT uq_sandboxes_pg_schema UNIQUE,
    pg_role text NOT NULL CONSTRAINT uq_sandboxes_pg_role UNIQUE,
    valkey_user text NOT NULL CONSTRAINT uq_sandboxes_valkey_user UNIQUE,
    key_prefix text NOT NULL CONSTRAINT uq_sandboxes_key_prefix UNIQUE,
    nats_account text NOT NULL CONSTRAINT uq_sandboxes_nats_account UNIQUE,
    subject_prefix text NOT NULL CONSTRAINT uq_sandboxes_subject_prefix UNIQUE,
    inbox_prefix text NOT NULL CONSTRAINT uq_sandboxes_inbox_prefix UNIQUE,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    last_activity_at timestamptz,
    last_error text,
    lease_until timestamptz,
    idempotency_key text,
    fingerprint bytea,
    CONSTRAINT ck_sandboxes_status CHECK (
        status IN ('pending', 'creating', 'running', 'expired', 'destroying', 'destroyed')
    )
);
-- a name is free again as soon as access has been cut
CREATE UNIQUE INDEX uq_sandboxes_live_name ON valhalla.sandboxes (name)
    WHERE status NOT IN ('destroying', 'destroyed');
CREATE UNIQUE INDEX uq_sandboxes_idempotency ON valhalla.sandboxes (created_by, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_sandboxes_name ON valhalla.sandboxes (name, created_at DESC);
CREATE INDEX ix_sandboxes_newest ON valhalla.sandboxes (created_at DESC, id DESC);
CREATE INDEX ix_sandboxes_owner ON valhalla.sandboxes (owner, created_at DESC, id DESC);
CREATE INDEX ix_sandboxes_tags ON valhalla.sandboxes USING gin (tags);
CREATE INDEX ix_sandboxes_expiry ON valhalla.sandboxes (expires_at) WHERE status = 'running';
CREATE INDEX ix_sandboxes_transient ON valhalla.sandboxes (lease_until)
    WHERE status IN ('pending', 'creating', 'expired', 'destroying');
CREATE TABLE valhalla.sandbox_routes (
    kind text NOT NULL,
    key text NOT NULL,
    sandbox_id text NOT NULL CONSTRAINT fk_sandbox_routes_sandbox_id REFERENCES valhalla.sandboxes (id),
    linked_at timestamptz NOT NULL,
    CONSTRAINT pk_sandbox_routes PRIMARY KEY (kind, key)
);
CREATE INDEX ix_sandbox_routes_sandbox_id ON valhalla.sandbox_routes (sandbox_id);
CREATE TABLE valhalla.sandbox_orphans (
    slice text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    sandbox_id text NOT NULL,
    first_seen timestamptz NOT NULL,
    CONSTRAINT pk_sandbox_orphans PRIMARY KEY (slice, kind, name)
);
"""


def upgrade() -> None:
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in ("sandbox_orphans", "sandbox_routes", "sandboxes"):
        op.execute(f"DROP TABLE valhalla.{table}")
