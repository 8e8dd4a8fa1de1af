"""The blocklist: hits of its rules, what bouncers have been told, alerts of CrowdSec agents."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # the sweep asks for what has expired every few seconds, among a million rules
    """
    CREATE INDEX ix_registry_records_blocklist_expiry ON valhalla.registry_records ((body ->> 'expires_at'))
        WHERE registry = 'blocklist' AND body ->> 'expires_at' IS NOT NULL
    """,
    """
    CREATE TABLE valhalla.blocklist_hits (
        key text COLLATE "C" CONSTRAINT pk_blocklist_hits PRIMARY KEY,
        hits bigint NOT NULL,
        last_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ix_blocklist_hits_last ON valhalla.blocklist_hits (last_at)",
    "CREATE INDEX ix_blocklist_hits_most ON valhalla.blocklist_hits (hits DESC, key)",
    """
    CREATE TABLE valhalla.bouncers (
        client_id text COLLATE "C" NOT NULL,
        address text COLLATE "C" NOT NULL,
        cursor bigint,
        agent text,
        first_pull_at timestamptz NOT NULL,
        last_pull_at timestamptz NOT NULL,
        usage jsonb,
        CONSTRAINT pk_bouncers PRIMARY KEY (client_id, address)
    )
    """,
    """
    CREATE TABLE valhalla.watchers (
        client_id text COLLATE "C" NOT NULL,
        machine_id text COLLATE "C" NOT NULL,
        scenarios jsonb NOT NULL,
        agent text,
        address text,
        logged_in_at timestamptz NOT NULL,
        heartbeat_at timestamptz,
        usage jsonb,
        CONSTRAINT pk_watchers PRIMARY KEY (client_id, machine_id)
    )
    """,
    """
    CREATE TABLE valhalla.crowdsec_alerts (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_crowdsec_alerts PRIMARY KEY,
        created_at timestamptz NOT NULL,
        client_id text NOT NULL,
        machine_id text NOT NULL,
        scenario text NOT NULL,
        scope text NOT NULL,
        value text NOT NULL,
        keys jsonb NOT NULL,
        body jsonb NOT NULL
    )
    """,
    "CREATE INDEX ix_crowdsec_alerts_created ON valhalla.crowdsec_alerts (created_at)",
    "CREATE INDEX ix_crowdsec_alerts_value ON valhalla.crowdsec_alerts (value, id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("crowdsec_alerts", "watchers", "bouncers", "blocklist_hits"):
        op.execute(f"DROP TABLE valhalla.{table}")
    op.execute("DROP INDEX valhalla.ix_registry_records_blocklist_expiry")
