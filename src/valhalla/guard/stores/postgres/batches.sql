-- Many callers' requests as one statement and one commit. Run after verbs.sql, again at will.
DROP FUNCTION IF EXISTS {schema}.begin_many(jsonb);
DROP FUNCTION IF EXISTS {schema}.cas_many(jsonb);

-- a claim that a crash of the server could forget would let its effect happen twice
CREATE OR REPLACE FUNCTION {schema}.hold_on() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- Claims of new keys and ends of executions, each in one go; each column is one text with chr(31) between its elements.
-- Answers the places of those that were done; what is not simple (a key that has a row, an execution that ended) is not
-- done, and asked again one by one.
DROP FUNCTION IF EXISTS {schema}.batch(text[], text[], text[], text[], bytea[], text[], text[], float8[], float8[],
    float8[], text[], text[], text[], text[], integer[], boolean[], bytea[], text[]);
CREATE OR REPLACE FUNCTION {schema}.batch(
    ids text, names text, keys text, shown_keys text, prints text, principals text, actors text,
    leases text, ttls text, tombstones text, colds text,
    ends text, tos text, enders text, generations text, unknowns text, results text, patches text,
    OUT at float8, OUT begun bigint[], OUT ended bigint[]
) LANGUAGE plpgsql
-- the plan is kept from the time when the table was small
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    sep constant text := chr(31);
BEGIN
    PERFORM {schema}.hold_on();
    at := {schema}.now(); begun := '{}'; ended := '{}';
    IF ids <> '' THEN
        WITH asked AS MATERIALIZED (
            SELECT * FROM unnest(string_to_array(ids, sep), string_to_array(names, sep), string_to_array(keys, sep),
                string_to_array(shown_keys, sep), string_to_array(prints, sep), string_to_array(principals, sep),
                string_to_array(actors, sep), string_to_array(leases, sep)::float8[],
                string_to_array(ttls, sep)::float8[], string_to_array(tombstones, sep)::float8[],
                string_to_array(colds, sep))
                WITH ORDINALITY o(id, name, key, shown_key, print, principal, actor, lease, ttl, tombstone, cold, place)
            WHERE pg_try_advisory_xact_lock(hashtextextended('{name}' || chr(31) || o.name || chr(31) || o.key, 0))
        ), made AS (
            INSERT INTO {schema}.actions (id, name, key, shown_key, keep, state, fingerprint, principal,
                generation, version, created_at, updated_at, ttl, tombstone, lease_until, cold)
            SELECT o.id, o.name, o.key, o.shown_key, true, 'executing', decode(o.print, 'hex'), o.principal,
                1, 1, at, at, o.ttl, o.tombstone, at + o.lease, o.cold::jsonb
            FROM asked o
            ON CONFLICT (name, key) WHERE answers AND key IS NOT NULL DO NOTHING
            RETURNING id
        ), told AS MATERIALIZED (
            -- IS TRUE: looked up in a hash, where a join would be of each with each
            SELECT o.* FROM asked o WHERE (o.id IN (SELECT m.id FROM made m)) IS TRUE
        ), written AS (
            INSERT INTO {schema}.lines (at, event, name, id, state, principal, key, fingerprint, generation)
            SELECT at, 'begin', o.name, o.id, 'executing', o.actor, o.shown_key, decode(o.print, 'hex'), 1 FROM told o
        )
        SELECT coalesce(array_agg(o.place), '{}') INTO begun FROM told o;
    END IF;
    IF ends <> '' THEN
        WITH done AS (
            UPDATE {schema}.actions a SET state = o.state, version = a.version + 1, updated_at = at,
                value = coalesce(convert_to(nullif(o.result, ''), 'UTF8'), a.value),
                cold = coalesce(a.cold || nullif(o.patch, '')::jsonb, a.cold),
                value_until = CASE WHEN o.state IN ('succeeded', 'failed') THEN at + a.ttl END,
                keep_until = CASE WHEN o.state IN ('succeeded', 'failed') THEN at + a.ttl + a.tombstone
                    WHEN o.state = 'not_done' THEN at + a.ttl END
            FROM unnest(string_to_array(ends, sep), string_to_array(tos, sep), string_to_array(enders, sep),
                string_to_array(generations, sep)::integer[], string_to_array(unknowns, sep)::boolean[],
                string_to_array(results, sep), string_to_array(patches, sep))
                WITH ORDINALITY o(id, state, actor, generation, unknown, result, patch, place)
            WHERE a.id = o.id AND a.generation = o.generation
                -- no index of states: before the first ANALYZE each would be looked for among all that is executing
                AND (a.state || '' = 'executing' OR o.unknown AND a.state || '' = 'indeterminate')
            RETURNING o.place, o.actor, a.id, a.name, a.state, a.shown_key, a.fingerprint, a.generation, a.shown_reason
        ), written AS (
            INSERT INTO {schema}.lines (at, event, name, id, state, principal, key, fingerprint, generation, reason)
            SELECT at, 'finish', d.name, d.id, d.state, d.actor, d.shown_key, d.fingerprint, d.generation, d.shown_reason
            FROM done d
        )
        SELECT coalesce(array_agg(d.place), '{}') INTO ended FROM done d;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION {schema}.perform(ops jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    op jsonb; answers jsonb[] := '{}';
BEGIN
    PERFORM {schema}.hold_on();
    FOR op IN SELECT * FROM jsonb_array_elements(ops) LOOP
        answers := answers || CASE WHEN op->>'do' = 'begin' THEN {schema}.begin_one(op) ELSE {schema}.cas_one(op) END;
    END LOOP;
    RETURN to_jsonb(answers);
END $$;
