"""What honeypots caught, by day."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # its own instant is part of what makes an event the same: a replay meets itself, whenever it comes
    """
    CREATE TABLE valhalla.honeypot_events (
        at timestamptz NOT NULL,
        uid text NOT NULL,
        honeypot text NOT NULL,
        kind text NOT NULL,
        service text NOT NULL,
        address text,
        score integer NOT NULL,
        payload jsonb,
        received_at timestamptz NOT NULL,
        CONSTRAINT pk_honeypot_events PRIMARY KEY (at, uid)
    ) PARTITION BY RANGE (at)
    """,
    "CREATE INDEX ix_honeypot_events_address ON valhalla.honeypot_events (address, at)",
    "CREATE INDEX ix_honeypot_events_honeypot ON valhalla.honeypot_events (honeypot, at)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.honeypot_events")
