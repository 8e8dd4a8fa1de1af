-- The verbs: what stores/dedup.py, swap.py and memory.py do, in one statement. Run after limits.sql, again at will.

-- what to do about the row that answers the key: kind says how to answer (NULL: go on with id and generation);
-- moves says to which state the row is moved before
CREATE OR REPLACE FUNCTION {schema}.look(
    a {schema}.actions, op jsonb, at float8,
    OUT kind text, OUT retry float8, OUT id text, OUT generation integer, OUT moves text, OUT event text
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    same boolean := a.fingerprint = decode(op->>'fingerprint', 'base64');
    rerun boolean := op->>'on_lapse' = 'rerun';
BEGIN
    id := op->>'id';
    generation := a.generation + 1;
    IF a.keep_until <= at THEN RETURN; END IF;
    IF a.state IN ('not_done', 'expired', 'cancelled', 'superseded', 'stale') THEN
        IF a.state = 'not_done' AND same THEN id := a.id; END IF;
        RETURN;
    END IF;
    IF a.state IN ('held', 'approved') THEN
        IF a.expires_at <= at THEN
            moves := 'expired'; event := 'expired';
        ELSIF same THEN
            kind := a.state;
        ELSIF a.principal <> op->>'principal' THEN
            kind := 'key_reuse';
        ELSE
            moves := CASE a.state WHEN 'held' THEN 'superseded' ELSE 'stale' END; event := 'superseded';
        END IF;
        RETURN;
    END IF;
    IF NOT a.keep AND a.state IN ('succeeded', 'failed', 'denied') THEN RETURN; END IF;
    IF NOT same THEN kind := 'key_reuse'; RETURN; END IF;
    IF a.state IN ('succeeded', 'failed') THEN kind := 'replay'; RETURN; END IF;
    IF a.state = 'denied' THEN kind := 'denied'; RETURN; END IF;
    IF a.state = 'executing' AND at < a.lease_until THEN
        kind := 'in_progress'; retry := least(1.0, a.lease_until - at);
    ELSIF rerun THEN
        id := a.id;
    ELSE
        kind := 'indeterminate';
        IF a.state = 'executing' THEN moves := 'indeterminate'; event := 'lapsed'; END IF;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION {schema}.begin_one(op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    met {schema}.actions; a {schema}.actions; told record; taken jsonb; at float8; again boolean := false;
    alone boolean; wanted text := op->>'key';
    lock bigint := hashtextextended('{name}' || chr(31) || (op->>'name') || chr(31) || wanted, 0);
BEGIN
    a.id := op->>'id'; a.name := op->>'name'; a.key := wanted; a.shown_key := op->>'shown_key';
    a.shown_reason := op->>'shown_reason'; a.answers := true; a.keep := (op->>'keep')::boolean;
    a.fingerprint := decode(op->>'fingerprint', 'base64'); a.principal := op->>'principal';
    a.generation := 1; a.version := 1; a.ttl := (op->>'ttl')::float8; a.tombstone := (op->>'tombstone')::float8;
    a.state := 'executing'; a.cold := op->'cold';
    at := {schema}.now();
    SELECT NULL::text AS kind, NULL::text AS moves INTO told;
    IF op ? 'again' THEN
        -- the connection broke the first time: it may be that it was done and only the answer was lost
        SELECT * INTO met FROM {schema}.actions x WHERE x.id = a.id AND x.version = 1
            OR x.name = a.name AND x.key = wanted AND x.answers AND x.state = 'executing' AND x.cold->>'attempt' = a.id;
        IF FOUND THEN
            RETURN jsonb_build_object('kind', CASE met.state WHEN 'executing' THEN 'execute' ELSE met.state END,
                'record', {schema}.record(met, at));
        END IF;
    END IF;
    IF wanted IS NOT NULL THEN
        alone := pg_try_advisory_xact_lock(lock);
        SELECT * INTO met FROM {schema}.actions x WHERE x.name = a.name AND x.key = wanted AND x.answers;
        IF FOUND THEN SELECT * INTO told FROM {schema}.look(met, op, at); END IF;
        IF NOT alone AND (told.kind IS NULL OR told.moves IS NOT NULL) THEN
            -- one caller at a time changes what answers a key. The others are not queued behind it, because it may be
            -- in a transaction of its own that takes its time: they come back, as behind an execution
            a.created_at := at; a.updated_at := at; a.lease_until := at + 1;
            RETURN jsonb_build_object('kind', 'in_progress', 'retry_after', 1.0, 'record', {schema}.record(a, at));
        END IF;
        IF met.id IS NOT NULL AND (told.kind IS NULL OR told.moves IS NOT NULL) THEN
            -- the row is changed, so nobody may finish it meanwhile; a mere answer needs no lock and no commit
            SELECT * INTO met FROM {schema}.actions x WHERE x.id = met.id FOR UPDATE;
            -- it may just have been purged
            IF FOUND THEN
                at := {schema}.now();
                SELECT * INTO told FROM {schema}.look(met, op, at);
            END IF;
        END IF;
        IF met.id IS NOT NULL THEN
            IF told.moves IS NOT NULL THEN
                met.state := told.moves; met.version := met.version + 1; met.updated_at := at;
                met := {schema}.ends(met);
                UPDATE {schema}.actions x SET state = met.state, version = met.version, updated_at = at,
                    value_until = met.value_until, keep_until = met.keep_until WHERE x.id = met.id;
                PERFORM {schema}.line(met, at, told.event, met.principal);
            END IF;
            IF told.kind IS NOT NULL THEN
                RETURN jsonb_build_object('kind', told.kind, 'retry_after', told.retry,
                    'record', {schema}.record(met, at));
            END IF;
            again := told.id = met.id;
            a.id := told.id; a.generation := told.generation;
            IF again THEN
                a.version := met.version + 1;
                IF a.id <> op->>'id' THEN a.cold := a.cold || jsonb_build_object('attempt', op->>'id'); END IF;
            END IF;
        END IF;
    END IF;
    IF op->>'verdict' = 'deny' THEN
        a.state := 'denied';
        PERFORM {schema}.line(a, at, 'denied', op->>'actor');
        RETURN '{"kind": "denied"}';
    END IF;
    IF op->>'verdict' = 'hold' THEN
        -- proposals of one principal are counted one after the other
        PERFORM pg_advisory_xact_lock(hashtextextended('{name}' || chr(30) || a.principal, 0));
        IF (SELECT count(*) FROM {schema}.actions x WHERE x.principal = a.principal AND x.state IN ('held', 'approved'))
            >= (op->>'cap')::integer THEN
            RETURN '{"kind": "capped"}';
        END IF;
        a.state := 'held'; a.expires_at := at + (op->>'expires_in')::float8;
    ELSIF op ? 'charges' THEN
        taken := {schema}.take(op->'charges', (op->>'report')::boolean);
        at := {schema}.now();
        IF NOT (taken->>'allowed')::boolean THEN
            a.state := 'denied';
            PERFORM {schema}.line(a, at, 'limited', op->>'actor');
            RETURN taken || '{"kind": "limited"}';
        END IF;
    END IF;
    a.created_at := at; a.updated_at := at; a.lease_until := at + (op->>'lease')::float8;
    IF again OR wanted IS NOT NULL OR (op->>'track')::boolean THEN
        IF again THEN
            DELETE FROM {schema}.actions x WHERE x.id = a.id;
        ELSIF met.id IS NOT NULL THEN
            UPDATE {schema}.actions x SET answers = false WHERE x.id = met.id;
        END IF;
        INSERT INTO {schema}.actions (id, name, key, shown_key, shown_reason, keep, state, fingerprint, principal,
            generation, version, created_at, updated_at, ttl, tombstone, lease_until, expires_at, cold)
        VALUES (a.id, a.name, a.key, a.shown_key, a.shown_reason, a.keep, a.state, a.fingerprint, a.principal,
            a.generation, a.version, at, at, a.ttl, a.tombstone, a.lease_until, a.expires_at, a.cold);
    END IF;
    IF NOT op ? 'only' THEN
        PERFORM {schema}.line(a, at, CASE a.state WHEN 'held' THEN 'held' ELSE 'begin' END, op->>'actor');
    END IF;
    RETURN jsonb_build_object('kind', CASE a.state WHEN 'held' THEN 'held' ELSE 'execute' END,
        'record', {schema}.record(a, at), 'policies', coalesce(taken->'policies', '[]'));
END $$;

CREATE OR REPLACE FUNCTION {schema}.cas_one(op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a {schema}.actions; at float8; taken jsonb;
BEGIN
    SELECT * INTO a FROM {schema}.actions x WHERE x.id = op->>'id' FOR UPDATE;
    IF NOT FOUND THEN RETURN '{"kind": "absent"}'; END IF;
    at := {schema}.now();
    IF op ? 'again' AND op->>'event' = 'finish' AND a.state = op->>'to' AND a.generation = (op->>'generation')::integer
    THEN
        RETURN jsonb_build_object('kind', 'done', 'record', {schema}.record(a, at));
    END IF;
    IF NOT (op->'sources' ? a.state
        AND a.generation = coalesce((op->>'generation')::integer, a.generation)
        AND a.version = coalesce((op->>'version')::integer, a.version)
        AND CASE op->>'when'
            WHEN 'unexpired' THEN a.expires_at IS NULL OR at < a.expires_at
            WHEN 'expired' THEN coalesce(at >= a.expires_at, false)
            WHEN 'lapsed' THEN at >= a.lease_until
            ELSE true END)
    THEN
        RETURN jsonb_build_object('kind', 'missed', 'record', {schema}.record(a, at));
    END IF;
    IF op ? 'charges' THEN
        taken := {schema}.take(op->'charges', true);
        IF NOT (taken->>'allowed')::boolean THEN
            RETURN taken || jsonb_build_object('kind', 'limited', 'record', {schema}.record(a, at));
        END IF;
        at := {schema}.now();
    END IF;
    a.state := op->>'to'; a.version := a.version + 1; a.updated_at := at;
    IF op ? 'value' THEN a.value := decode(op->>'value', 'base64'); END IF;
    IF op ? 'fingerprint' THEN a.fingerprint := decode(op->>'fingerprint', 'base64'); END IF;
    IF op ? 'shown_reason' THEN a.shown_reason := op->>'shown_reason'; END IF;
    a.cold := a.cold || (op->'cold');
    a.lease_until := coalesce(at + (op->>'lease')::float8, a.lease_until);
    a.expires_at := coalesce(at + (op->>'expires_in')::float8, a.expires_at);
    a.ttl := coalesce((op->>'ttl')::float8, a.ttl);
    a.tombstone := coalesce((op->>'tombstone')::float8, a.tombstone);
    a := {schema}.ends(a);
    UPDATE {schema}.actions x SET state = a.state, fingerprint = a.fingerprint, version = a.version,
        shown_reason = a.shown_reason, updated_at = a.updated_at, ttl = a.ttl, tombstone = a.tombstone,
        lease_until = a.lease_until, expires_at = a.expires_at, value_until = a.value_until,
        keep_until = a.keep_until, value = a.value, cold = a.cold
    WHERE x.id = a.id;
    IF op->>'event' IS NOT NULL THEN PERFORM {schema}.line(a, at, op->>'event', op->>'actor'); END IF;
    RETURN jsonb_build_object('kind', 'done', 'record', {schema}.record(a, at),
        'policies', coalesce(taken->'policies', '[]'));
END $$;

CREATE OR REPLACE FUNCTION {schema}.purge(most integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    at float8 := {schema}.now(); touched bigint; n bigint;
BEGIN
    DELETE FROM {schema}.actions WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {schema}.actions WHERE keep_until <= at AND coalesce(value_until, keep_until) <= at
        LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS touched = ROW_COUNT;
    UPDATE {schema}.actions SET value = NULL WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {schema}.actions WHERE keep_until IS NOT NULL AND coalesce(value_until, keep_until) <= at
        AND value IS NOT NULL AND value_until <= at
        LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS n = ROW_COUNT;
    WITH over AS (
        DELETE FROM {schema}.buckets WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {schema}.buckets WHERE until <= at * 1e6 LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING resource, name, subject)
    DELETE FROM {schema}.units u USING over o
        WHERE u.resource = o.resource AND u.name = o.name AND u.subject = o.subject;
    RETURN touched + n;
END $$;
