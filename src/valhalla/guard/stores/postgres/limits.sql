-- Limits: the arithmetic of governor.rules. Run after schema.sql, again at will.

-- a charge that is admitted has wait 0, one that never will be NULL; the same as governor.rules
CREATE OR REPLACE FUNCTION {schema}.meet(
    c jsonb, b {schema}.buckets, at float8, OUT wait float8, OUT remaining bigint, OUT reset float8, OUT tat float8
) LANGUAGE plpgsql AS $$
DECLARE
    units bigint := (c->>'units')::bigint;
    most bigint := (c->>'most')::bigint;
    step float8 := (c->>'interval')::float8;
    span float8 := (c->>'window')::float8;
    first bigint;
    last float8;
BEGIN
    IF c->>'kind' = 'gcra' THEN
        tat := greatest(b.tat, at);
        IF b.step > 0 AND b.step <> step THEN
            tat := at + ceil((tat - at) * step / b.step);
        END IF;
        reset := tat - at;
        remaining := greatest(0, floor((most * step - reset) / step));
        wait := CASE WHEN units <= most THEN greatest(0, reset + units * step - most * step) END;
        tat := tat + units * step;
        RETURN;
    END IF;
    SELECT u.before INTO first FROM {schema}.units u
        WHERE u.resource = b.resource AND u.name = b.name AND u.subject = b.subject AND u.at > meet.at - span
        ORDER BY u.at, u.before LIMIT 1;
    remaining := greatest(0, most - (b.total - coalesce(first, b.total)));
    reset := 0;
    wait := CASE WHEN units <= most THEN 0 END;
    IF first IS NULL THEN RETURN; END IF;
    SELECT max(u.at) INTO last FROM {schema}.units u
        WHERE u.resource = b.resource AND u.name = b.name AND u.subject = b.subject;
    reset := last + span - at;
    IF units <= most AND b.total - first + units > most THEN
        SELECT u.at + span - meet.at INTO wait FROM {schema}.units u
            WHERE u.resource = b.resource AND u.name = b.name AND u.subject = b.subject AND u.at > meet.at - span
            AND u.before + u.n >= b.total + units - most ORDER BY u.at, u.before LIMIT 1;
    END IF;
END $$;

-- all charges or none; {allowed, retry_after, limit, policies}. NULL charges: nobody set a limit, so it is refused.
CREATE OR REPLACE FUNCTION {schema}.take(charges jsonb, report boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    c jsonb; b {schema}.buckets; met record; moment float8; told jsonb := '[]'; never boolean := false; longest float8 := 0;
    refuser text; locked {schema}.buckets[] := '{}';
BEGIN
    IF charges IS NULL OR jsonb_typeof(charges) = 'null' THEN
        RETURN '{"allowed": false, "retry_after": null, "limit": null, "policies": []}';
    END IF;
    -- the callers send them in one order, so two takes do not wait for each other
    FOR c IN SELECT * FROM jsonb_array_elements(charges) LOOP
        INSERT INTO {schema}.buckets AS old (resource, name, subject) VALUES (c->>'resource', c->>'name', c->>'subject')
            ON CONFLICT (resource, name, subject) DO UPDATE SET total = old.total RETURNING * INTO b;
        locked := locked || b;
    END LOOP;
    -- read after the last lock: no call sees a later one's units
    moment := floor({schema}.now() * 1e6);
    FOR i IN 1 .. cardinality(locked) LOOP
        c := charges->(i - 1);
        CONTINUE WHEN (c->>'shadow')::boolean;
        SELECT * INTO met FROM {schema}.meet(c, locked[i], moment);
        told := told || jsonb_build_array(jsonb_build_array(c->>'name', met.remaining, met.reset / 1e6));
        IF met.wait IS NULL AND NOT never THEN
            never := true; refuser := c->>'name';
        ELSIF met.wait > longest AND NOT never THEN
            longest := met.wait; refuser := c->>'name';
        END IF;
    END LOOP;
    IF refuser IS NOT NULL THEN
        RETURN jsonb_build_object('allowed', false, 'limit', refuser, 'policies', told,
            'retry_after', CASE WHEN NOT never THEN longest / 1e6 END);
    END IF;
    told := '[]';
    FOR i IN 1 .. cardinality(locked) LOOP
        c := charges->(i - 1); b := locked[i];
        SELECT * INTO met FROM {schema}.meet(c, b, moment);
        -- a shadow limit that would refuse is not charged either
        CONTINUE WHEN met.wait IS DISTINCT FROM 0;
        IF c->>'kind' = 'gcra' THEN
            UPDATE {schema}.buckets x SET tat = met.tat, step = (c->>'interval')::float8, until = met.tat
                WHERE x.resource = b.resource AND x.name = b.name AND x.subject = b.subject RETURNING * INTO b;
        ELSE
            DELETE FROM {schema}.units u WHERE u.resource = b.resource AND u.name = b.name AND u.subject = b.subject
                AND u.at <= moment - (c->>'window')::float8;
            INSERT INTO {schema}.units VALUES (b.resource, b.name, b.subject, moment, b.total, (c->>'units')::bigint);
            UPDATE {schema}.buckets x SET total = x.total + (c->>'units')::bigint, until = moment + (c->>'window')::float8
                WHERE x.resource = b.resource AND x.name = b.name AND x.subject = b.subject RETURNING * INTO b;
        END IF;
        IF report AND NOT (c->>'shadow')::boolean THEN
            SELECT * INTO met FROM {schema}.meet(c, b, moment);
            told := told || jsonb_build_array(jsonb_build_array(c->>'name', met.remaining, met.reset / 1e6));
        END IF;
    END LOOP;
    RETURN jsonb_build_object('allowed', true, 'policies', told);
END $$;
