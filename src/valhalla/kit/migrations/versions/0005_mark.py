"""Marking a sandbox for its end in one round trip: the cut that a user waits for begins right after it."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION valhalla.mark_destroying(request jsonb, event_class integer)
            RETURNS boolean LANGUAGE plpgsql AS $$
        DECLARE
            r record;
            held jsonb;
        BEGIN
            SELECT * INTO r FROM jsonb_to_record(request) AS q (
                id text, source text, lease_until timestamptz, routes jsonb, subject text, ledger jsonb, events jsonb
            );
            UPDATE valhalla.sandboxes s SET status = 'destroying', lease_until = r.lease_until, last_error = NULL
                WHERE s.id = r.id AND s.status = r.source;
            IF NOT FOUND THEN
                RETURN false;
            END IF;
            WITH gone AS (
                DELETE FROM valhalla.sandbox_routes h WHERE h.sandbox_id = r.id RETURNING h.kind, h.key
            )
            SELECT coalesce(jsonb_agg(pair ORDER BY kind COLLATE "C", key COLLATE "C"), '[]') INTO held
                FROM (SELECT g.kind, g.key, jsonb_build_array(g.kind, g.key) AS pair FROM gone g) AS pairs;
            IF held <> r.routes THEN
                -- the entries in the request speak of other routes: the caller looks again
                RAISE EXCEPTION 'the routes have changed' USING ERRCODE = 'serialization_failure';
            END IF;
            PERFORM pg_advisory_xact_lock(event_class, hashtext(r.subject));
            INSERT INTO valhalla.ledger_entries
                (at, actor, action, kind, subject, details, correlation_id, nonce, mac)
                SELECT l.at, l.actor, l.action, l.kind, l.subject, l.details, l.correlation_id,
                    decode(l.nonce, 'hex'), decode(l.mac, 'hex')
                FROM jsonb_to_recordset(r.ledger) AS l (
                    at timestamptz, actor text, action text, kind text, subject text, details jsonb,
                    correlation_id text, nonce text, mac text
                );
            INSERT INTO valhalla.events (uid, subject, type, data, correlation_id, at)
                SELECT v.uid, v.subject, v.type, v.data, v.correlation_id, v.at
                FROM jsonb_to_recordset(r.events) AS v (
                    uid text, subject text, type text, data jsonb, correlation_id text, at timestamptz
                );
            PERFORM pg_notify('valhalla_events', '');
            RETURN true;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION valhalla.mark_destroying(jsonb, integer)")
