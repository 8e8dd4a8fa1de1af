"""What is taken from PUBLIC in a database that holds sandboxes.

Postgres grants much to PUBLIC that lets one tenant watch or disturb another. The owner part needs only the database's
owner; the superuser part changes system catalogs, so it is done once in a template database that arenas are cloned
from. Catalogs that every client library reads (pg_class, pg_proc, pg_constraint…) stay readable: names and definitions
are visible at schema level, data is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from valhalla.kit.sql import identifier

# Part of the template's name: a change here makes new arenas, it never alters a live one.
VERSION: Final = 1

_VIEWS: Final = (
    # who else is here and what they do
    "pg_stat_activity",
    "pg_stat_replication",
    "pg_stat_ssl",
    "pg_stat_gssapi",
    "pg_locks",
    "pg_prepared_xacts",
    "pg_stat_progress_vacuum",
    "pg_stat_progress_create_index",
    "pg_stat_progress_copy",
    # how much others have
    "pg_stat_database",
    "pg_stat_all_tables",
    "pg_stat_sys_tables",
    "pg_stat_user_tables",
    "pg_stat_xact_all_tables",
    "pg_stat_xact_sys_tables",
    "pg_stat_xact_user_tables",
    "pg_stat_all_indexes",
    "pg_stat_sys_indexes",
    "pg_stat_user_indexes",
    "pg_statio_all_tables",
    "pg_statio_sys_tables",
    "pg_statio_user_tables",
    "pg_statio_all_indexes",
    "pg_statio_sys_indexes",
    "pg_statio_user_indexes",
    "pg_statio_all_sequences",
    "pg_statio_sys_sequences",
    "pg_statio_user_sequences",
    "pg_stat_user_functions",
    "pg_stat_xact_user_functions",
    # which roles and databases exist
    "pg_roles",
    "pg_user",
    "pg_group",
    "pg_database",
    "pg_db_role_setting",
    "pg_auth_members",
    "pg_shdescription",
    # what others wrote
    "pg_views",
    "pg_matviews",
    "pg_rules",
)
_FUNCTIONS: Final = (
    # statistics and sizes behind the views above
    r"pg_stat_get_.*",
    r"pg_lock_status",
    r"pg_(relation|table|indexes|total_relation|database|tablespace)_size",
    r"pg_relation_filenode|pg_relation_filepath",
    r"pg_prepared_xact",
    # advisory locks are shared by everybody in a database; unlocking is harmless and pools call it
    r"pg_(try_)?advisory_(xact_)?lock(_shared)?",
    # storage outside the schema, which DROP SCHEMA would leave behind
    r"lo_(creat|create|from_bytea|import|put|open)|lowrite|loread",
    # floods the log that replicas and backups read
    r"pg_logical_emit_message",
    r"pg_notify",
    r"pg_(export_snapshot|create_restore_point|switch_wal|backup_start|backup_stop|log_backend_memory_contexts)",
)


# What a sandbox may have back in a database of its own: it reaches nobody else's there, and is dropped with it.
_OWN_VIEWS: Final = frozenset({"pg_views", "pg_matviews", "pg_rules"})
_OWN_FUNCTIONS: Final = frozenset(
    {
        r"pg_(try_)?advisory_(xact_)?lock(_shared)?",
        r"lo_(creat|create|from_bytea|import|put|open)|lowrite|loread",
        r"pg_notify",
        r"pg_(relation|table|indexes|total_relation|database|tablespace)_size",
        r"pg_relation_filenode|pg_relation_filepath",
    }
)
# lo_import and lo_export read and write files of the server and are the superuser's by default, here as there.
_STILL_CLOSED: Final = (r"pg_(database|tablespace)_size", r"lo_import")


def owner_statements(database: str, group: str) -> list[str]:
    """Return what the database's owner revokes: connecting, temporary tables, and the public schema."""
    db = identifier(database)
    return [
        f"REVOKE ALL ON DATABASE {db} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {db} TO {identifier(group)}",
    ]


def public_schema_statements() -> list[str]:
    """Return what closes the public schema of the connected database."""
    return ["REVOKE ALL ON SCHEMA public FROM PUBLIC"]


def superuser_script(control_role: str) -> str:
    """Return one script for a superuser, connected to the template database of arenas."""
    return _script(control_role, _VIEWS, _FUNCTIONS)


def own_script(control_role: str) -> str:
    """Return the same for the template of sandboxes' own databases: what all databases share stays closed."""
    views = [name for name in _VIEWS if name not in _OWN_VIEWS]
    functions = [pattern for pattern in _FUNCTIONS if pattern not in _OWN_FUNCTIONS]
    return _script(control_role, [*views, "pg_shdepend"], [*functions, *_STILL_CLOSED])


def _script(control_role: str, closed_views: Iterable[str], closed_functions: Iterable[str]) -> str:
    control = identifier(control_role)
    views = ", ".join(f"'{name}'" for name in closed_views)
    functions = "|".join(f"({pattern})" for pattern in closed_functions)
    return f"""
DO $harden$
DECLARE thing text;
BEGIN
  FOR thing IN
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relname IN ({views})
  LOOP
    EXECUTE format('REVOKE ALL ON pg_catalog.%s FROM PUBLIC', thing);
    EXECUTE format('GRANT SELECT ON pg_catalog.%s TO {control}', thing);
  END LOOP;
  FOR thing IN
    SELECT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^({functions})$'
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', thing);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {control}', thing);
  END LOOP;
END
$harden$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""
