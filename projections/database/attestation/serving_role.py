"""The rights of the serving role beyond those that the service needs.

Promises: a role that could switch off or replace what protects the log is named with the reason, also where the reason
is a role that it is a member of.
"""

from collections.abc import Iterator, Mapping, Sequence

from projections.database.attestation.catalogue import Catalogue, functions, tables
from projections.database.connections import Connection
from projections.database.migration import needed_rights

_OF_THE_ROLE = """
SELECT r.rolsuper, r.rolcreaterole,
       EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname IN ('pg_execute_server_program', 'pg_write_server_files')
                  AND pg_has_role(r.oid, p.oid, 'MEMBER')) AS of_the_server,
       EXISTS (SELECT FROM pg_class AS c WHERE c.oid = ANY (%(oids)s::oid[])
                  AND pg_has_role(r.oid, c.relowner, 'MEMBER')) AS owns_tables,
       EXISTS (SELECT FROM pg_proc AS p
                WHERE p.pronamespace = %(home)s::regnamespace AND p.proname = ANY (%(functions)s::name[])
                  AND pg_has_role(r.oid, p.proowner, 'MEMBER')) AS owns_functions,
       has_schema_privilege(r.oid, %(home)s::regnamespace, 'CREATE') AS creates_in_schema,
       has_database_privilege(r.oid, current_database(), 'CREATE') AS creates_schemas
  FROM pg_roles AS r WHERE r.rolname = session_user
"""
_HELD = """
SELECT t.name, p.privilege FROM unnest(%(tables)s::text[], %(oids)s::oid[]) AS t (name, oid)
 CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (privilege)
 WHERE t.oid <> 0 AND has_table_privilege(session_user, t.oid, p.privilege)
"""
_REASONS = {
    "owns_tables": "owns the tables",
    "owns_functions": "owns the functions",
    "rolcreaterole": "may create roles",
    "of_the_server": "may run programs or write files on the server",
    "creates_in_schema": "may create in the schema of the tables",
    "creates_schemas": "may create schemas",
}


def excess_rights(connection: Connection, found: Catalogue) -> Sequence[str]:
    """Return what the role of this session may do that the service does not need; empty if there is nothing."""
    given = {"oids": list(found.oids), "home": found.home, "tables": list(tables()), "functions": list(functions())}
    role = connection.execute(_OF_THE_ROLE, given).fetchone()
    if role is None or role["rolsuper"]:
        return ["is a superuser"]
    reasons = [said for name, said in _REASONS.items() if role[name]]
    return reasons if role["owns_tables"] else [*reasons, *_excess(connection, given)]


def _excess(connection: Connection, given: Mapping[str, object]) -> Iterator[str]:
    needed = set(needed_rights())
    for row in connection.execute(_HELD, given).fetchall():
        if (row["privilege"], row["name"]) not in needed:
            yield f"has {row['privilege']} on {row['name']}"
