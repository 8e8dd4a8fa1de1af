"""Claims with less work: one statement for all that a batch writes to the ledger, and fewer indexes that grow."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LIVE = "('pending', 'creating', 'running', 'expired')"

# Every one of these names is made of the id in one place and holds all of it, so the primary key keeps them unique.
# A sandbox's row is written six times in its life, and each time all of its indexes were.
_NAMES = ("pg_schema", "pg_role", "valkey_user", "key_prefix", "nats_account", "subject_prefix", "inbox_prefix")

# The rules and their order are those of 0003. The plans are fixed: an array of unknown length makes the planner begin
# anew each time, which costs a lone claim more than its writes.
_CLAIM = f"""
    CREATE OR REPLACE FUNCTION valhalla.claim_slots(requests jsonb, owner_limit integer)
        RETURNS TABLE (ord integer, outcome text, detail text)
        LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
    DECLARE
        r record;
        last_owner text;
        live_now integer;
        taken text;
        won integer[] := '{{}}';
    BEGIN
        FOR r IN
            SELECT * FROM jsonb_to_recordset(requests) AS q (
                ord integer, id text, process text, name text, owner text, description text, tags jsonb,
                metadata jsonb, routes jsonb, created_by text, created_at timestamptz, expires_at timestamptz,
                key text, fingerprint text
            ) ORDER BY q.owner, q.ord
        LOOP
            ord := r.ord;
            detail := NULL;
            IF r.owner IS DISTINCT FROM last_owner THEN
                last_owner := r.owner;
                INSERT INTO valhalla.owner_live AS o (owner, live) VALUES (r.owner, 0)
                    ON CONFLICT (owner) DO UPDATE SET live = o.live RETURNING o.live INTO live_now;
            END IF;
            IF r.key IS NOT NULL AND EXISTS (
                SELECT FROM valhalla.sandboxes s WHERE s.created_by = r.created_by AND s.idempotency_key = r.key
            ) THEN
                outcome := 'key-used'; RETURN NEXT; CONTINUE;
            END IF;
            IF live_now >= owner_limit THEN
                outcome := 'owner-limit'; detail := live_now::text; RETURN NEXT; CONTINUE;
            END IF;
            IF EXISTS (
                SELECT FROM valhalla.sandboxes s WHERE s.name = r.name AND s.status IN {_LIVE}
            ) THEN
                outcome := 'name-taken'; detail := r.name; RETURN NEXT; CONTINUE;
            END IF;
            IF r.routes <> '[]' THEN
                SELECT h.kind || ':' || h.key INTO taken FROM valhalla.sandbox_routes h
                    JOIN jsonb_array_elements(r.routes) e ON h.kind = e ->> 0 AND h.key = e ->> 1 LIMIT 1;
                IF FOUND THEN
                    outcome := 'route-taken'; detail := taken; RETURN NEXT; CONTINUE;
                END IF;
            END IF;
            UPDATE valhalla.sandboxes s SET
                status = 'running', name = r.name, owner = r.owner, description = r.description,
                tags = ARRAY(SELECT jsonb_array_elements_text(r.tags)), metadata = r.metadata,
                created_by = r.created_by, created_at = r.created_at, expires_at = r.expires_at,
                idempotency_key = r.key, fingerprint = decode(r.fingerprint, 'hex'),
                reserved_by = NULL, lease_until = NULL
            WHERE s.id = r.id AND s.status = 'pending' AND s.reserved_by = r.process AND s.slot_ready_at IS NOT NULL;
            IF NOT FOUND THEN
                outcome := 'slot-gone'; RETURN NEXT; CONTINUE;
            END IF;
            live_now := live_now + 1;
            IF r.routes <> '[]' THEN
                INSERT INTO valhalla.sandbox_routes (kind, key, sandbox_id, linked_at)
                    SELECT e ->> 0, e ->> 1, r.id, r.created_at FROM jsonb_array_elements(r.routes) e;
            END IF;
            won := won || r.ord;
            outcome := 'claimed'; RETURN NEXT;
        END LOOP;
        IF won = '{{}}' THEN
            RETURN;
        END IF;
        INSERT INTO valhalla.ledger_entries (at, actor, action, kind, subject, details, correlation_id, nonce, mac)
            SELECT l.at, l.actor, l.action, l.kind, l.subject, l.details, l.correlation_id,
                decode(l.nonce, 'hex'), decode(l.mac, 'hex')
            FROM jsonb_to_recordset(requests) AS q (ord integer, ledger jsonb),
                jsonb_to_recordset(q.ledger) AS l (
                    at timestamptz, actor text, action text, kind text, subject text, details jsonb,
                    correlation_id text, nonce text, mac text
                )
            WHERE q.ord = ANY (won);
        INSERT INTO valhalla.events (uid, subject, type, data, correlation_id, at)
            SELECT v.uid, v.subject, v.type, v.data, v.correlation_id, v.at
            FROM jsonb_to_recordset(requests) AS q (ord integer, events jsonb),
                jsonb_to_recordset(q.events) AS v (
                    uid text, subject text, type text, data jsonb, correlation_id text, at timestamptz
                )
            WHERE q.ord = ANY (won);
        PERFORM pg_notify('valhalla_events', '');
    END
    $$
"""


def upgrade() -> None:
    for name in _NAMES:
        op.execute(f"ALTER TABLE valhalla.sandboxes DROP CONSTRAINT uq_sandboxes_{name}")
    op.execute(_CLAIM)


def downgrade() -> None:
    before = import_module("valhalla.kit.migrations.versions.0003_pool")
    op.execute("DROP FUNCTION valhalla.claim_slots(jsonb, integer)")
    op.execute(before.CLAIM)
    for name in _NAMES:
        op.execute(f"ALTER TABLE valhalla.sandboxes ADD CONSTRAINT uq_sandboxes_{name} UNIQUE ({name})")
