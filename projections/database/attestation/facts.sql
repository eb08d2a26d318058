-- What the database holds of our tables and functions: one row for each thing, its facts in JSON. The texts are the same
-- in PostgreSQL 15 to 18, after a dump and a restore, and after a replay.
-- Parameters: tables, functions: the names that this program ships; oids: the tables that a session finds by these names,
-- 0 for none; path: the schemas in which a session looks, in order; home: the schema of our tables.

WITH place AS (
    SELECT name, oid FROM unnest(%(tables)s::text[], %(oids)s::oid[]) AS p (name, oid)
), path AS (
    SELECT n.oid, n.nspname, p.nth
      FROM unnest(%(path)s::name[]) WITH ORDINALITY AS p (nspname, nth) JOIN pg_namespace AS n ON n.nspname = p.nspname
), foreign_to_extensions AS (
    SELECT p.oid, p.proname, p.pronamespace FROM pg_proc AS p
     WHERE p.oid >= 16384 AND NOT EXISTS (
           SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), made_here AS (
    -- Things that run functions, operators or types which neither PostgreSQL nor an extension brought.
    SELECT d.classid, d.objid, d.objsubid FROM pg_depend AS d
     WHERE d.refobjid >= 16384 AND d.refclassid IN (
           'pg_proc'::regclass, 'pg_operator'::regclass,
           'pg_opclass'::regclass, 'pg_type'::regclass)
       AND NOT EXISTS (
           SELECT FROM pg_depend AS e
            WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
)
SELECT 'table' AS kind, place.name AS table_name, place.name AS name, jsonb_build_object(
           'kind', c.relkind, 'persistence', c.relpersistence, 'storage', m.amname,
           'row security', c.relrowsecurity OR c.relforcerowsecurity, 'partition', c.relispartition,
           'inheritance', EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)),
           'type', c.reloftype <> 0,
           'checks', c.relchecks = (SELECT count(*) FROM pg_constraint AS k
                                     WHERE k.conrelid = c.oid AND k.contype = 'c'),
           'triggers', c.relhastriggers OR NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid)) AS facts
  FROM place JOIN pg_class AS c USING (oid) LEFT JOIN pg_am AS m ON m.oid = c.relam
UNION ALL
SELECT 'column', place.name, a.attname, jsonb_build_object(
           'type', format_type(a.atttypid, a.atttypmod), 'required', a.attnotnull,
           'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity,
           'generated', a.attgenerated, 'collation', l.collname, 'made here', EXISTS (
           SELECT FROM made_here AS h
            WHERE (h.classid = 'pg_attrdef'::regclass AND h.objid = d.oid)
               OR (h.classid = 'pg_class'::regclass AND h.objid = a.attrelid
                   AND h.objsubid = a.attnum)))
  FROM place JOIN pg_attribute AS a ON a.attrelid = place.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
UNION ALL
-- A column that is required is a constraint of its own from PostgreSQL 18 on.
SELECT 'constraint', place.name, k.conname, jsonb_build_object(
           'definition', pg_get_constraintdef(k.oid, true), 'made here', EXISTS (
           SELECT FROM made_here AS h
            WHERE h.classid = 'pg_constraint'::regclass AND h.objid = k.oid))
  FROM place JOIN pg_constraint AS k ON place.oid IN (k.conrelid, k.confrelid) AND k.contype <> 'n'
UNION ALL
SELECT 'index', place.name, c.relname, jsonb_build_object(
           'definition', regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', ''),
           'unique', i.indisunique, 'primary', i.indisprimary, 'immediate', i.indimmediate,
           'valid', i.indisvalid AND i.indisready AND i.indislive, 'made here', EXISTS (
           SELECT FROM made_here AS h
            WHERE h.classid = 'pg_class'::regclass AND h.objid = i.indexrelid))
  FROM place JOIN pg_index AS i ON i.indrelid = place.oid
  JOIN pg_class AS c ON c.oid = i.indexrelid
UNION ALL
SELECT 'trigger', place.name, t.tgname, jsonb_build_object(
           'definition', pg_get_triggerdef(t.oid, true), 'fires', t.tgenabled)
  FROM place JOIN pg_trigger AS t ON t.tgrelid = place.oid
UNION ALL
SELECT 'rule', place.name, r.rulename, '{}' FROM place JOIN pg_rewrite AS r ON r.ev_class = place.oid
UNION ALL
SELECT 'function', p.proname, pg_get_function_identity_arguments(p.oid), jsonb_build_object(
           'language', l.lanname, 'run by', h.prosrc || ' in ' || h.probin, 'result', pg_get_function_result(p.oid),
           'arguments', pg_get_function_arguments(p.oid), 'kind', p.prokind, 'volatility', p.provolatile,
           'strict', p.proisstrict, 'security definer', p.prosecdef, 'leakproof', p.proleakproof,
           'settings', array_to_string(p.proconfig, ', '), 'support', p.prosupport <> 0,
           'SQL body', p.prosqlbody IS NOT NULL, 'binary', p.probin,
           'body', encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'))
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
  LEFT JOIN pg_proc AS h ON h.oid = l.lanplcallfoid
 WHERE p.proname = ANY (%(functions)s::name[])
   AND p.pronamespace IN (SELECT path.oid FROM path)
UNION ALL
-- From here on only what must not be there.
SELECT 'shadow', c.relname, n.nspname, '{}'
  FROM pg_class AS c JOIN path AS n ON n.oid = c.relnamespace
 WHERE c.relname = ANY (%(tables)s::name[]) AND c.relnamespace <> %(home)s::regnamespace
UNION ALL
SELECT 'shadow', p.proname, n.nspname, '{}'
  FROM pg_proc AS p JOIN path AS n ON n.oid = p.pronamespace
 WHERE p.proname = ANY (%(functions)s::name[]) AND p.pronamespace <> %(home)s::regnamespace
UNION ALL
SELECT 'shadow', t.typname, n.nspname, '{}'
  FROM pg_type AS t JOIN path AS n ON n.oid = t.typnamespace
 WHERE t.typname = ANY (%(tables)s::name[]) AND t.typrelid NOT IN (
       SELECT place.oid FROM place)
UNION ALL
SELECT 'built-in', 'search_path', 'pg_catalog', '{}'
 WHERE EXISTS (SELECT FROM path AS other, path AS built_in
                WHERE built_in.nspname = 'pg_catalog' AND other.nth < built_in.nth
                  AND other.oid <> pg_my_temp_schema())
UNION ALL
SELECT 'built-in', 'function', p.proname, '{}'
  FROM foreign_to_extensions AS p
 WHERE p.pronamespace = 'pg_catalog'::regnamespace
    OR (p.pronamespace IN (SELECT path.oid FROM path) AND EXISTS (
        SELECT FROM pg_proc AS b
         WHERE b.proname = p.proname AND b.pronamespace = 'pg_catalog'::regnamespace))
UNION ALL
SELECT 'built-in', 'function', p.proname, '{}'
  FROM pg_proc AS p
 WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND p.prolang NOT IN (
       SELECT l.oid FROM pg_language AS l WHERE l.lanname IN ('internal', 'c', 'sql'))
UNION ALL
SELECT 'built-in', 'operator', o.oprname, '{}'
  FROM pg_operator AS o
 WHERE o.oid >= 16384 AND o.oprnamespace IN (SELECT path.oid FROM path) AND EXISTS (
       SELECT FROM pg_operator AS b WHERE b.oprname = o.oprname AND b.oid < 16384)
   AND NOT EXISTS (
       SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')
UNION ALL
SELECT 'built-in', 'cast', format_type(k.castsource, NULL), '{}'
  FROM pg_cast AS k
 WHERE k.oid >= 16384 AND k.castsource < 16384 AND k.casttarget < 16384 AND NOT EXISTS (
       SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_cast'::regclass AND d.objid = k.oid AND d.deptype = 'e')
UNION ALL
SELECT 'event trigger', 'database', e.evtname, '{}'
  FROM pg_event_trigger AS e
 WHERE e.evtenabled <> 'D' AND NOT EXISTS (
       SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
