"""Logins are ended by the makers of their roles."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # as in 0006, but by who may alter the role: no role administers all of them
    op.execute(
        """
        CREATE OR REPLACE FUNCTION valhalla.end_logins(ids text[]) RETURNS integer LANGUAGE plpgsql AS $$
        DECLARE
            r record;
            done integer := 0;
        BEGIN
            FOR r IN
                SELECT s.pg_role, s.expires_at FROM valhalla.sandboxes s
                WHERE s.id = ANY (ids) AND s.status = 'running' ORDER BY s.id FOR NO KEY UPDATE
            LOOP
                BEGIN
                    PERFORM vh_makers.act(
                        r.pg_role, format('ALTER ROLE %I VALID UNTIL %L', r.pg_role, r.expires_at));
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
    import_module("valhalla.kit.migrations.versions.0006_end_logins").upgrade()
