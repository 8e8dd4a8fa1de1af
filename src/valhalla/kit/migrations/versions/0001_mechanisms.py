"""The mechanisms: ledger, registries, events."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LEDGER = (
    """
    CREATE TABLE valhalla.ledger_entries (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_ledger_entries PRIMARY KEY,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        kind text NOT NULL,
        subject text NOT NULL,
        details jsonb NOT NULL,
        correlation_id text,
        nonce bytea NOT NULL CONSTRAINT uq_ledger_entries_nonce UNIQUE,
        mac bytea NOT NULL,
        seq bigint CONSTRAINT uq_ledger_entries_seq UNIQUE,
        prev bytea,
        hash bytea,
        CONSTRAINT ck_ledger_entries_sealed CHECK (num_nulls(seq, prev, hash) IN (0, 3))
    )
    """,
    "CREATE INDEX ix_ledger_entries_subject ON valhalla.ledger_entries (kind, subject, id)",
    "CREATE INDEX ix_ledger_entries_unsealed ON valhalla.ledger_entries (id) WHERE seq IS NULL",
    """
    CREATE TABLE valhalla.ledger_checkpoints (
        seq bigint CONSTRAINT pk_ledger_checkpoints PRIMARY KEY,
        hash bytea NOT NULL,
        sealed_at timestamptz NOT NULL,
        signature bytea NOT NULL
    )
    """,
    """
    CREATE FUNCTION valhalla.ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END
    $$
    """,
    """
    CREATE FUNCTION valhalla.ledger_only_seal() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.seq IS NOT NULL OR NEW.seq IS NULL OR
            (OLD.id, OLD.at, OLD.actor, OLD.action, OLD.kind, OLD.subject,
                OLD.details, OLD.correlation_id, OLD.nonce, OLD.mac)
            IS DISTINCT FROM
            (NEW.id, NEW.at, NEW.actor, NEW.action, NEW.kind, NEW.subject,
                NEW.details, NEW.correlation_id, NEW.nonce, NEW.mac)
        THEN
            RAISE EXCEPTION 'the ledger is append-only: an entry can only be sealed, once'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER ledger_only_seal BEFORE UPDATE ON valhalla.ledger_entries
        FOR EACH ROW EXECUTE FUNCTION valhalla.ledger_only_seal()
    """,
    """
    CREATE TRIGGER ledger_append_only BEFORE DELETE OR TRUNCATE ON valhalla.ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION valhalla.ledger_refuse()
    """,
    """
    CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON valhalla.ledger_checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION valhalla.ledger_refuse()
    """,
)

_REGISTRY = (
    """
    CREATE TABLE valhalla.registry_heads (
        name text CONSTRAINT pk_registry_heads PRIMARY KEY,
        revision bigint NOT NULL
    )
    """,
    """
    CREATE TABLE valhalla.registry_records (
        registry text NOT NULL,
        key text NOT NULL COLLATE "C",
        version bigint NOT NULL,
        body jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_registry_records PRIMARY KEY (registry, key)
    )
    """,
    """
    CREATE TABLE valhalla.registry_changes (
        registry text NOT NULL,
        revision bigint NOT NULL,
        op text NOT NULL CONSTRAINT ck_registry_changes_op CHECK (op IN ('put', 'delete')),
        key text NOT NULL COLLATE "C",
        before jsonb,
        after jsonb,
        actor text NOT NULL,
        reason text,
        at timestamptz NOT NULL,
        correlation_id text,
        CONSTRAINT pk_registry_changes PRIMARY KEY (registry, revision)
    )
    """,
    "CREATE INDEX ix_registry_changes_key ON valhalla.registry_changes (registry, key, revision)",
)

_EVENTS = (
    """
    CREATE TABLE valhalla.events (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_events PRIMARY KEY,
        uid text NOT NULL,
        subject text NOT NULL,
        type text NOT NULL,
        data jsonb NOT NULL,
        correlation_id text,
        at timestamptz NOT NULL,
        sent_at timestamptz
    )
    """,
    "CREATE INDEX ix_events_unsent ON valhalla.events (id) WHERE sent_at IS NULL",
    "CREATE INDEX ix_events_sent ON valhalla.events (sent_at) WHERE sent_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in (*_LEDGER, *_REGISTRY, *_EVENTS):
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "events",
        "registry_changes",
        "registry_records",
        "registry_heads",
        "ledger_checkpoints",
        "ledger_entries",
    ):
        op.execute(f"DROP TABLE valhalla.{table}")
    op.execute("DROP FUNCTION valhalla.ledger_only_seal(), valhalla.ledger_refuse()")
