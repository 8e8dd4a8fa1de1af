"""Letting logins of pooled sandboxes end with them, many in one transaction and after the answer."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The end is the registry's at this moment, under the row's lock: an extension that comes first is respected.
    op.execute(
        """
        CREATE FUNCTION valhalla.end_logins(ids text[]) RETURNS integer LANGUAGE plpgsql AS $$
        DECLARE
            r record;
            done integer := 0;
        BEGIN
            FOR r IN
                SELECT s.pg_role, s.expires_at FROM valhalla.sandboxes s
                WHERE s.id = ANY (ids) AND s.status = 'running' ORDER BY s.id FOR NO KEY UPDATE
            LOOP
                BEGIN
                    EXECUTE format('ALTER ROLE %I VALID UNTIL %L', r.pg_role, r.expires_at);
                    done := done + 1;
                EXCEPTION WHEN undefined_object THEN
                    NULL;
                END;
            END LOOP;
            RETURN done;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION valhalla.end_logins(text[])")
