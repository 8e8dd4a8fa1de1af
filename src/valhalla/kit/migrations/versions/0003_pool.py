"""The warm pool: slots are sandboxes that nobody has claimed yet, and a claim is one call of one function."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVE = "('pending', 'creating', 'running', 'expired')"

_UP = (
    """
    ALTER TABLE valhalla.sandboxes
        ADD COLUMN template_version text,
        ADD COLUMN slot_ready_at timestamptz,
        ADD COLUMN reserved_by text
    """,
    """
    CREATE INDEX ix_sandboxes_slots ON valhalla.sandboxes (template, template_version, created_at)
        WHERE status = 'pending' AND slot_ready_at IS NOT NULL
    """,
    """
    CREATE TABLE valhalla.owner_live (
        owner text CONSTRAINT pk_owner_live PRIMARY KEY,
        live integer NOT NULL CONSTRAINT ck_owner_live_live CHECK (live >= 0)
    )
    """,
    f"""
    INSERT INTO valhalla.owner_live (owner, live)
        SELECT owner, count(*) FROM valhalla.sandboxes WHERE status IN {_LIVE} AND owner <> '' GROUP BY owner
    """,
    # counted where the status changes, so that no path can forget it
    f"""
    CREATE FUNCTION valhalla.count_owner() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        was boolean := TG_OP = 'UPDATE' AND OLD.owner <> '' AND OLD.status IN {_LIVE};
        now_is boolean := NEW.owner <> '' AND NEW.status IN {_LIVE};
    BEGIN
        IF was AND NOT now_is THEN
            UPDATE valhalla.owner_live SET live = live - 1 WHERE owner = OLD.owner;
        ELSIF now_is AND NOT was THEN
            INSERT INTO valhalla.owner_live AS o (owner, live) VALUES (NEW.owner, 1)
                ON CONFLICT (owner) DO UPDATE SET live = o.live + 1;
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER count_owner AFTER INSERT OR UPDATE OF status, owner ON valhalla.sandboxes
        FOR EACH ROW EXECUTE FUNCTION valhalla.count_owner()
    """,
    # Several claims in one transaction: one commit for all that wait. Ordered by owner, so that two batches lock the
    # owners' counters in one order. Every check comes before the first write of its claim.
    f"""
    CREATE FUNCTION valhalla.claim_slots(requests jsonb, owner_limit integer)
        RETURNS TABLE (ord integer, outcome text, detail text) LANGUAGE plpgsql AS $$
    DECLARE
        r record;
        live_now integer;
        taken text;
        claimed boolean := false;
    BEGIN
        FOR r IN
            SELECT * FROM jsonb_to_recordset(requests) AS q (
                ord integer, id text, process text, name text, owner text, description text, tags jsonb,
                metadata jsonb, routes jsonb, created_by text, created_at timestamptz, expires_at timestamptz,
                key text, fingerprint text, ledger jsonb, events jsonb
            ) ORDER BY q.owner, q.ord
        LOOP
            ord := r.ord;
            INSERT INTO valhalla.owner_live AS o (owner, live) VALUES (r.owner, 0) ON CONFLICT DO NOTHING;
            SELECT o.live INTO live_now FROM valhalla.owner_live o WHERE o.owner = r.owner FOR UPDATE;
            IF r.key IS NOT NULL AND EXISTS (
                SELECT FROM valhalla.sandboxes s WHERE s.created_by = r.created_by AND s.idempotency_key = r.key
            ) THEN
                outcome := 'key-used'; detail := NULL; RETURN NEXT; CONTINUE;
            END IF;
            IF live_now >= owner_limit THEN
                outcome := 'owner-limit'; detail := live_now::text; RETURN NEXT; CONTINUE;
            END IF;
            IF EXISTS (SELECT FROM valhalla.sandboxes s WHERE s.name = r.name AND s.status IN {_LIVE}) THEN
                outcome := 'name-taken'; detail := r.name; RETURN NEXT; CONTINUE;
            END IF;
            SELECT h.kind || ':' || h.key INTO taken FROM valhalla.sandbox_routes h
                JOIN jsonb_array_elements(r.routes) e ON h.kind = e ->> 0 AND h.key = e ->> 1 LIMIT 1;
            IF FOUND THEN
                outcome := 'route-taken'; detail := taken; RETURN NEXT; CONTINUE;
            END IF;
            UPDATE valhalla.sandboxes s SET
                status = 'running', name = r.name, owner = r.owner, description = r.description,
                tags = ARRAY(SELECT jsonb_array_elements_text(r.tags)), metadata = r.metadata,
                created_by = r.created_by, created_at = r.created_at, expires_at = r.expires_at,
                idempotency_key = r.key, fingerprint = decode(r.fingerprint, 'hex'),
                reserved_by = NULL, lease_until = NULL
            WHERE s.id = r.id AND s.status = 'pending' AND s.reserved_by = r.process AND s.slot_ready_at IS NOT NULL;
            IF NOT FOUND THEN
                outcome := 'slot-gone'; detail := NULL; RETURN NEXT; CONTINUE;
            END IF;
            INSERT INTO valhalla.sandbox_routes (kind, key, sandbox_id, linked_at)
                SELECT e ->> 0, e ->> 1, r.id, r.created_at FROM jsonb_array_elements(r.routes) e;
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
            claimed := true;
            outcome := 'claimed'; detail := NULL; RETURN NEXT;
        END LOOP;
        IF claimed THEN
            PERFORM pg_notify('valhalla_events', '');
        END IF;
    END
    $$
    """,
)
CLAIM = _UP[-1]
"""What a downgrade of its successor brings back."""

_DOWN = (
    "DROP FUNCTION valhalla.claim_slots(jsonb, integer)",
    "DROP TRIGGER count_owner ON valhalla.sandboxes",
    "DROP FUNCTION valhalla.count_owner()",
    "DROP TABLE valhalla.owner_live",
    "DELETE FROM valhalla.sandboxes WHERE status = 'pending' AND owner = ''",
    "ALTER TABLE valhalla.sandboxes DROP COLUMN template_version, DROP COLUMN slot_ready_at, DROP COLUMN reserved_by",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
