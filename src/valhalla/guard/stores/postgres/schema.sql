-- Run as a whole and again at will: guard.setup() and the control plane's migration use this one text.
-- {schema} is replaced by the quoted name of the schema. Instants are seconds since the epoch, those of limits
-- whole microseconds; every one of them is this server's.
CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.actions (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    name text NOT NULL,
    key text,
    -- the key and the reason as the ledger may show them
    shown_key text,
    shown_reason text,
    -- whether this row answers its key; a row that another has replaced is found by its id only
    answers boolean NOT NULL DEFAULT true,
    keep boolean NOT NULL,
    state text NOT NULL,
    fingerprint bytea NOT NULL,
    principal text NOT NULL,
    generation integer NOT NULL,
    version integer NOT NULL,
    created_at float8 NOT NULL,
    updated_at float8 NOT NULL,
    ttl float8 NOT NULL,
    tombstone float8 NOT NULL,
    lease_until float8 NOT NULL,
    expires_at float8,
    value_until float8,
    keep_until float8,
    value bytea,
    cold jsonb NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS actions_key ON {schema}.actions (name, key) WHERE answers AND key IS NOT NULL;
CREATE INDEX IF NOT EXISTS actions_seq ON {schema}.actions (seq);
CREATE INDEX IF NOT EXISTS actions_open ON {schema}.actions (principal) WHERE state IN ('held', 'approved');
CREATE INDEX IF NOT EXISTS actions_unfinished ON {schema}.actions (state, seq)
    WHERE state IN ('held', 'approved', 'executing', 'indeterminate');
-- each index is paid for at every begin and end: one tells when a row is due for the purge, for its value or for all
CREATE INDEX IF NOT EXISTS actions_due ON {schema}.actions (coalesce(value_until, keep_until))
    WHERE keep_until IS NOT NULL;

-- xid tells readers which lines could still be overtaken by one with a smaller seq
CREATE TABLE IF NOT EXISTS {schema}.lines (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at float8 NOT NULL,
    event text NOT NULL,
    name text NOT NULL,
    id text NOT NULL,
    state text NOT NULL,
    principal text NOT NULL,
    key text,
    fingerprint bytea NOT NULL,
    generation integer NOT NULL,
    reason text
);

-- how far the control plane has carried the lines into its ledger
CREATE TABLE IF NOT EXISTS {schema}.carried (
    alone boolean PRIMARY KEY DEFAULT true CHECK (alone),
    seq bigint NOT NULL
);
INSERT INTO {schema}.carried (seq) VALUES (0) ON CONFLICT DO NOTHING;

-- tat and step belong to a GCRA limit, total to an exact one: all units it ever gave
CREATE TABLE IF NOT EXISTS {schema}.buckets (
    resource text NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    tat float8 NOT NULL DEFAULT 0,
    step float8 NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    until float8 NOT NULL DEFAULT 0,
    PRIMARY KEY (resource, name, subject)
);
CREATE INDEX IF NOT EXISTS buckets_until ON {schema}.buckets (until);

-- what an exact limit gave and when; "before" is the bucket's total until then, so usage is one subtraction
CREATE TABLE IF NOT EXISTS {schema}.units (
    resource text NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    at float8 NOT NULL,
    before bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (resource, name, subject, at, before)
);

CREATE OR REPLACE FUNCTION {schema}.now() RETURNS float8 LANGUAGE sql VOLATILE AS
    'SELECT extract(epoch FROM clock_timestamp())::float8';

CREATE OR REPLACE FUNCTION {schema}.base64(data bytea) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT translate(encode(data, 'base64'), E'\n', '')$$;

CREATE OR REPLACE FUNCTION {schema}.record(a {schema}.actions, at float8) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT a.cold || jsonb_build_object(
        'id', a.id, 'name', a.name, 'key', a.key, 'keep', a.keep, 'state', a.state,
        'fingerprint', {schema}.base64(a.fingerprint), 'principal', a.principal,
        'generation', a.generation, 'version', a.version, 'created_at', a.created_at, 'updated_at', a.updated_at,
        'lease_until', CASE WHEN a.state = 'executing' THEN a.lease_until END, 'expires_at', a.expires_at,
        'value_until', a.value_until, 'keep_until', a.keep_until,
        'value', CASE WHEN a.value_until <= at THEN NULL ELSE {schema}.base64(a.value) END)
$$;

CREATE OR REPLACE FUNCTION {schema}.line(a {schema}.actions, at float8, event text, actor text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO {schema}.lines (at, event, name, id, state, principal, key, fingerprint, generation, reason)
    VALUES (at, event, a.name, a.id, a.state, actor, a.shown_key, a.fingerprint, a.generation, a.shown_reason)
$$;

-- rows that are settled or released say how long they stay
CREATE OR REPLACE FUNCTION {schema}.ends(a {schema}.actions) RETURNS {schema}.actions LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    a.value_until := CASE WHEN a.state IN ('succeeded', 'failed') THEN a.updated_at + a.ttl END;
    a.keep_until := CASE
        WHEN a.state IN ('succeeded', 'failed') THEN a.updated_at + a.ttl + a.tombstone
        WHEN a.state IN ('denied', 'not_done', 'expired', 'cancelled', 'superseded', 'stale') THEN a.updated_at + a.ttl
        END;
    RETURN a;
END $$;
