"""Sign-ins with an issuer that came back: each comes back once."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_CHECK = "console_sessions_kind_check"


def upgrade() -> None:
    op.execute(f"ALTER TABLE valhalla.console_sessions DROP CONSTRAINT {_CHECK}")
    op.execute(
        f"ALTER TABLE valhalla.console_sessions ADD CONSTRAINT {_CHECK} CHECK (kind IN ('session', 'link', 'state'))"
    )


def downgrade() -> None:
    op.execute("DELETE FROM valhalla.console_sessions WHERE kind = 'state'")
    op.execute(f"ALTER TABLE valhalla.console_sessions DROP CONSTRAINT {_CHECK}")
    op.execute(f"ALTER TABLE valhalla.console_sessions ADD CONSTRAINT {_CHECK} CHECK (kind IN ('session', 'link'))")
