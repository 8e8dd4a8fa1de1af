"""What a sandbox's schema holds, as its own catalogs tell it.

The search path is the schema alone, so names in it come without it; where the server writes it all the same, it is
replaced when the snapshot is restored.
"""

from __future__ import annotations

from typing import Final

# Texts come whole into memory, so their size is asked for first.
VOLUME: Final = """
SELECT pg_catalog.count(*) AS objects, coalesce(pg_catalog.sum(size), 0)::bigint AS size FROM (
    SELECT pg_catalog.length(prosrc) + coalesce(pg_catalog.length(prosqlbody::text), 0) AS size
    FROM pg_catalog.pg_proc WHERE pronamespace = CURRENT_SCHEMA::text::regnamespace
    UNION ALL SELECT coalesce(pg_catalog.sum(pg_catalog.length(r.ev_action::text)), 0)
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace GROUP BY c.oid
    UNION ALL SELECT pg_catalog.length(d.adbin::text)
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace
    UNION ALL SELECT coalesce(pg_catalog.length(conbin::text), 0)
    FROM pg_catalog.pg_constraint WHERE connamespace = CURRENT_SCHEMA::text::regnamespace
    UNION ALL SELECT coalesce(pg_catalog.sum(pg_catalog.length(e.enumlabel::text)), 0)
    FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = CURRENT_SCHEMA::text::regnamespace GROUP BY t.oid
    UNION ALL SELECT pg_catalog.length(description) FROM pg_catalog.pg_description WHERE objoid IN (
        SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = CURRENT_SCHEMA::text::regnamespace
        UNION ALL SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace = CURRENT_SCHEMA::text::regnamespace
        UNION ALL SELECT oid FROM pg_catalog.pg_type WHERE typnamespace = CURRENT_SCHEMA::text::regnamespace
        UNION ALL SELECT oid FROM pg_catalog.pg_constraint WHERE connamespace = CURRENT_SCHEMA::text::regnamespace)
) AS texts
"""

UNSUPPORTED: Final = """
SELECT CASE p.prokind WHEN 'a' THEN 'aggregate ' ELSE 'window function ' END || p.oid::regprocedure::text
FROM pg_catalog.pg_proc p WHERE p.pronamespace = CURRENT_SCHEMA::text::regnamespace AND p.prokind NOT IN ('f', 'p')
UNION ALL SELECT 'operator ' || o.oid::regoperator::text FROM pg_catalog.pg_operator o
WHERE o.oprnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'operator class ' || opcname FROM pg_catalog.pg_opclass
WHERE opcnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'operator family ' || opfname FROM pg_catalog.pg_opfamily
WHERE opfnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'conversion ' || conname FROM pg_catalog.pg_conversion
WHERE connamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'collation ' || collname FROM pg_catalog.pg_collation
WHERE collnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'text search configuration ' || cfgname FROM pg_catalog.pg_ts_config
WHERE cfgnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'text search dictionary ' || dictname FROM pg_catalog.pg_ts_dict
WHERE dictnamespace = CURRENT_SCHEMA::text::regnamespace
UNION ALL SELECT 'cast of ' || pg_catalog.format_type(t.oid, NULL)
FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_type t ON t.oid IN (k.castsource, k.casttarget)
WHERE t.typnamespace = CURRENT_SCHEMA::text::regnamespace AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_cast'::regclass AND d.objid = k.oid AND d.deptype = 'i'
)
UNION ALL SELECT 'base type ' || typname FROM pg_catalog.pg_type
WHERE typnamespace = CURRENT_SCHEMA::text::regnamespace AND (typtype = 'p' OR (typtype = 'b' AND typelem = 0))
UNION ALL SELECT 'typed table ' || relname FROM pg_catalog.pg_class
WHERE relnamespace = CURRENT_SCHEMA::text::regnamespace AND reloftype <> 0
UNION ALL SELECT 'foreign table ' || relname FROM pg_catalog.pg_class
WHERE relnamespace = CURRENT_SCHEMA::text::regnamespace AND relkind = 'f'
UNION ALL SELECT DISTINCT 'inheritance of table ' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
UNION ALL SELECT 'large objects' WHERE EXISTS (
    SELECT FROM pg_catalog.pg_largeobject_metadata WHERE lomowner = CURRENT_USER::text::regrole
)
ORDER BY 1 LIMIT 20
"""

RELATIONS: Final = """
SELECT c.oid, pg_catalog.quote_ident(c.relname) AS name, c.relname AS plain, c.relkind::text AS kind,
    c.relpersistence = 'u' AS unlogged, c.relispopulated AS populated, c.relrowsecurity AS secured,
    c.relforcerowsecurity AS forced, c.reloptions AS options, c.reltype,
    pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound,
    CASE c.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partkey,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END AS definition,
    (SELECT pg_catalog.quote_ident(p.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p
     ON p.oid = i.inhparent WHERE i.inhrelid = c.oid AND c.relispartition) AS parent
FROM pg_catalog.pg_class c
WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace
AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'S') ORDER BY c.relname
"""

COLUMNS: Final = """
SELECT a.attrelid, pg_catalog.quote_ident(a.attname) AS name, a.attname AS plain,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
    a.attidentity::text AS identity, a.attgenerated::text AS generated, d.oid AS default_oid,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression,
    CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN (
        SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.collname)
        FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
        WHERE l.oid = a.attcollation) END AS collation
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relnamespace = CURRENT_SCHEMA::text::regnamespace
AND c.relkind IN ('r', 'p', 'c')
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

# ``owner`` is the column that the sequence belongs to, ``identity`` that the column makes it itself
SEQUENCES: Final = """
SELECT c.oid, pg_catalog.quote_ident(c.relname) AS name, pg_catalog.format_type(s.seqtypid, NULL) AS type,
    s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
    coalesce(d.deptype = 'i', false) AS identity,
    d.refobjid AS table_oid, pg_catalog.quote_ident(t.relname) AS table_name,
    pg_catalog.quote_ident(a.attname) AS column_name
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid AND c.relnamespace = CURRENT_SCHEMA::text::regnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
ORDER BY c.relname
"""

TYPES: Final = """
SELECT t.oid, pg_catalog.quote_ident(t.typname) AS name, t.typtype::text AS kind, t.typarray,
    t.typnotnull AS required, pg_catalog.format_type(t.typbasetype, t.typtypmod) AS base,
    pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::regclass) AS expression,
    (SELECT pg_catalog.array_agg(pg_catalog.quote_literal(e.enumlabel) ORDER BY e.enumsortorder)
     FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    pg_catalog.format_type(r.rngsubtype, NULL) AS subtype, r.rngmultitypid AS multirange,
    (SELECT pg_catalog.quote_ident(m.typname) FROM pg_catalog.pg_type m WHERE m.oid = r.rngmultitypid) AS multiname,
    (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.opcname)
     FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
     WHERE o.oid = r.rngsubopc) AS opclass,
    CASE WHEN r.rngsubdiff <> 0 THEN r.rngsubdiff::regproc::text END AS difference,
    (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.collname)
     FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
     WHERE l.oid = CASE t.typtype WHEN 'r' THEN r.rngcollation ELSE t.typcollation END
     AND l.oid <> (SELECT b.typcollation FROM pg_catalog.pg_type b WHERE b.oid = coalesce(r.rngsubtype, t.typbasetype))
    ) AS collation
FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
WHERE t.typnamespace = CURRENT_SCHEMA::text::regnamespace AND t.typtype IN ('e', 'd', 'r') ORDER BY t.typname
"""

FUNCTIONS: Final = """
SELECT p.oid, pg_catalog.pg_get_functiondef(p.oid) AS definition
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = CURRENT_SCHEMA::text::regnamespace AND p.prokind IN ('f', 'p') AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i'
)
ORDER BY p.proname, p.oid
"""

CONSTRAINTS: Final = """
SELECT k.oid, pg_catalog.quote_ident(k.conname) AS name, k.contype::text AS kind, k.conrelid AS table_oid,
    k.contypid AS type_oid, pg_catalog.pg_get_constraintdef(k.oid) AS definition,
    pg_catalog.quote_ident(c.relname) AS table_name, pg_catalog.quote_ident(t.typname) AS type_name
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid
WHERE k.connamespace = CURRENT_SCHEMA::text::regnamespace AND k.contype IN ('c', 'p', 'u', 'x', 'f')
AND k.conparentid = 0
    AND (k.conislocal OR k.contypid <> 0) ORDER BY k.conname, k.oid
"""

# what follows needs no order but this one: statements that may come once everything else is there
LAST: Final = """
SELECT * FROM (
    SELECT 1 AS rank, pg_catalog.pg_get_indexdef(i.indexrelid) AS statement, c.relkind = 'I' AS partitioned, c.relname
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace AND NOT c.relispartition AND i.indisvalid AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL SELECT 2, pg_catalog.pg_get_statisticsobjdef(s.oid), false, s.stxname
    FROM pg_catalog.pg_statistic_ext s WHERE s.stxnamespace = CURRENT_SCHEMA::text::regnamespace
    UNION ALL SELECT 3, pg_catalog.pg_get_ruledef(r.oid), false, r.rulename
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace AND r.rulename <> '_RETURN'
    UNION ALL SELECT 4, pg_catalog.pg_get_triggerdef(g.oid), false, g.tgname
    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace AND NOT g.tgisinternal AND g.tgparentid = 0
    UNION ALL SELECT 5, pg_catalog.format('ALTER TABLE %I %s TRIGGER %I', c.relname,
        CASE g.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, g.tgname),
        false, g.tgname
    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace AND NOT g.tgisinternal AND g.tgparentid = 0
    AND g.tgenabled <> 'O'
    UNION ALL SELECT 6, pg_catalog.format('CREATE POLICY %I ON %I AS %s FOR %s TO %s', p.polname, c.relname,
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
            ELSE 'ALL' END,
        CASE WHEN 0 = ANY (p.polroles) THEN 'PUBLIC' ELSE 'CURRENT_USER' END)
        || coalesce(' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')', '')
        || coalesce(' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''), false, p.polname
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    WHERE c.relnamespace = CURRENT_SCHEMA::text::regnamespace
) AS last ORDER BY rank, relname, statement
"""

COMMENTS: Final = """
SELECT o.type, o.identity, pg_catalog.quote_literal(d.description) AS text
FROM pg_catalog.pg_description d, LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) o
WHERE d.objoid = ANY ($1::oid[]) ORDER BY o.type, o.identity
"""

# every type that stands for another: a table's rows, an array of something, the multirange of a range
ALIASES: Final = """
SELECT t.oid, CASE WHEN t.typrelid <> 0 THEN 'pg_class' ELSE 'pg_type' END AS class,
    CASE WHEN t.typrelid <> 0 THEN t.typrelid WHEN t.typtype = 'm' THEN r.rngtypid ELSE t.typelem END AS stands_for
FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_range r ON r.rngmultitypid = t.oid
WHERE t.typnamespace = CURRENT_SCHEMA::text::regnamespace
AND (t.typrelid <> 0 OR t.typtype = 'm' OR t.typcategory = 'A')
"""

# of every object above on every other; what is not one of ours is dropped by the reader
DEPENDENCIES: Final = """
SELECT d.classid::regclass::text AS class, d.objid, d.refclassid::regclass::text AS refclass, d.refobjid,
    r.ev_class AS view_oid, b.adrelid AS default_table
FROM pg_catalog.pg_depend d
LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
    AND r.rulename = '_RETURN'
LEFT JOIN pg_catalog.pg_attrdef b ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND b.oid = d.objid
WHERE d.objid > 16383 AND d.refobjid > 16383
    AND d.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_proc'::regclass,
        'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_attrdef'::regclass)
    AND d.refclassid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass,
        'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_constraint'::regclass)
    AND d.objid = ANY ($1::oid[])
"""
