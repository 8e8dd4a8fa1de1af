-- Many callers' requests as one statement and one commit. Run after verbs.sql, again at will.

-- claims of new keys in one go; what is not simple is left to begin_one. {place in ops: answer}
CREATE OR REPLACE FUNCTION {schema}.begin_many(ops jsonb) RETURNS jsonb LANGUAGE plpgsql
-- the plan is kept from the time when the table was small
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    at float8 := {schema}.now(); told jsonb;
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT ON (x.name, x.key) * FROM ROWS FROM (jsonb_to_recordset(ops) AS (
            plain text, id text, name text, key text, shown_key text, shown_reason text, fingerprint text,
            principal text, actor text, keep boolean, lease float8, ttl float8, tombstone float8, cold jsonb
        )) WITH ORDINALITY x WHERE x.plain = 'begin' ORDER BY x.name, x.key, x.ordinality
    ), made AS (
        INSERT INTO {schema}.actions AS a (id, name, key, shown_key, shown_reason, keep, state, fingerprint, principal,
            generation, version, created_at, updated_at, ttl, tombstone, lease_until, cold)
        SELECT o.id, o.name, o.key, o.shown_key, o.shown_reason, o.keep, 'executing', decode(o.fingerprint, 'base64'),
            o.principal, 1, 1, at, at, o.ttl, o.tombstone, at + o.lease, o.cold
        FROM asked o
        WHERE NOT EXISTS (SELECT FROM {schema}.actions x WHERE x.name = o.name AND x.key = o.key AND x.answers)
            AND pg_try_advisory_xact_lock(hashtextextended('{name}' || chr(31) || o.name || chr(31) || o.key, 0))
        ON CONFLICT (name, key) WHERE answers AND key IS NOT NULL DO NOTHING
        RETURNING a AS row, a.id
    ), written AS (
        INSERT INTO {schema}.lines (at, event, name, id, state, principal, key, fingerprint, generation, reason)
        SELECT at, 'begin', o.name, o.id, 'executing', o.actor, o.shown_key, (m.row).fingerprint, 1, o.shown_reason
        FROM made m JOIN asked o ON o.id = m.id
    )
    SELECT jsonb_object_agg(o.ordinality, jsonb_build_object('kind', 'execute', 'record', {schema}.record(m.row, at)))
        INTO told FROM made m JOIN asked o ON o.id = m.id;
    RETURN coalesce(told, '{}');
END $$;

-- ends of executions in one go; what missed is left to cas_one
CREATE OR REPLACE FUNCTION {schema}.cas_many(ops jsonb) RETURNS jsonb LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    at float8 := {schema}.now(); told jsonb;
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT ON (x.id) * FROM ROWS FROM (jsonb_to_recordset(ops) AS (
            plain text, id text, sources jsonb, "to" text, actor text, generation integer, version integer,
            value text, shown_reason text, cold jsonb
        )) WITH ORDINALITY x WHERE x.plain = 'cas' ORDER BY x.id, x.ordinality
    ), done AS (
        UPDATE {schema}.actions a SET state = o."to", version = a.version + 1, updated_at = at,
            value = coalesce(decode(o.value, 'base64'), a.value), cold = a.cold || o.cold,
            shown_reason = coalesce(o.shown_reason, a.shown_reason),
            value_until = CASE WHEN o."to" IN ('succeeded', 'failed') THEN at + a.ttl END,
            keep_until = CASE WHEN o."to" IN ('succeeded', 'failed') THEN at + a.ttl + a.tombstone
                WHEN o."to" = 'not_done' THEN at + a.ttl END
        FROM asked o WHERE a.id = o.id AND o.sources ? a.state
            AND a.generation = coalesce(o.generation, a.generation) AND a.version = coalesce(o.version, a.version)
        RETURNING a AS row, a.id, o.ordinality, o.actor
    ), written AS (
        INSERT INTO {schema}.lines (at, event, name, id, state, principal, key, fingerprint, generation, reason)
        SELECT at, 'finish', (d.row).name, d.id, (d.row).state, d.actor, (d.row).shown_key, (d.row).fingerprint,
            (d.row).generation, (d.row).shown_reason
        FROM done d
    )
    SELECT jsonb_object_agg(d.ordinality, jsonb_build_object('kind', 'done', 'record', {schema}.record(d.row, at)))
        INTO told FROM done d;
    RETURN coalesce(told, '{}');
END $$;

CREATE OR REPLACE FUNCTION {schema}.perform(ops jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    op jsonb; place integer := 0; answers jsonb[] := '{}'; many jsonb := '{}';
BEGIN
    -- a claim that a crash of the server could forget would let its effect happen twice
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF jsonb_array_length(ops) > 3 THEN
        many := {schema}.begin_many(ops) || {schema}.cas_many(ops);
    END IF;
    FOR op IN SELECT * FROM jsonb_array_elements(ops) LOOP
        place := place + 1;
        answers := answers || CASE
            WHEN many ? place::text THEN many->place::text
            WHEN op->>'do' = 'begin' THEN {schema}.begin_one(op)
            ELSE {schema}.cas_one(op) END;
    END LOOP;
    RETURN to_jsonb(answers);
END $$;
