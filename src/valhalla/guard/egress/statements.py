"""Whether an SQL statement only reads, as far as its text tells: pure, and in doubt it does not."""

from __future__ import annotations

import re
from typing import Final

_NOISE: Final = re.compile(
    r"""
      (?P<string>'(?:[^']|'')*')               # a backslash ends nothing: what it might hide stays visible
    | (?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*.*?\*/)
    | (?P<name>"(?:[^"]|"")*"|`[^`]*`)
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_READING: Final = frozenset(
    {
        *("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "FETCH", "MOVE", "CLOSE"),
        *("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "DECLARE", "DEALLOCATE"),
    }
)
# anywhere in a reading statement they make it a writing one
_WRITING: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "INTO"})
# functions with effects that a READ ONLY transaction lets through, or that undo it
_EFFECTS: Final = re.compile(
    r"""(?ix)\b(?:
      pg_notify | lo_\w+ | nextval | setval | set_config | dblink\w* | pg_(?:try_)?advisory_\w+ | pg_logical_\w+
    | pg_(?:terminate|cancel)_backend | pg_reload_conf | pg_rotate_logfile | pg_switch_wal | pg_create_\w+ | pg_promote
    | pg_drop_replication_slot | pg_(?:read|write)_\w*file\w* | pg_file_\w+ | pg_stat_reset\w* | query_to_xml\w*
    | load_extension | writefile | load_file | sys_exec | sys_eval | xp_cmdshell | get_lock | release_lock
    )"?\s*\("""
)
_READ_ONLY: Final = re.compile(r"(?i)SET\s+TRANSACTION\s+(?:ISOLATION\s+LEVEL\s+[A-Z ]+?,?\s*)?(?:READ\s+ONLY)?\s*")
_READ_WRITE: Final = re.compile(r"(?i)\bREAD\s+WRITE\b")
_PRAGMAS: Final = frozenset(
    {
        *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"),
        *("database_list", "collation_list", "function_list", "compile_options", "encoding", "page_count"),
        *("user_version", "schema_version", "foreign_keys", "journal_mode", "query_only", "freelist_count"),
    }
)


def only_reads(sql: str) -> bool:
    """Say whether every statement of ``sql`` is known to read only.

    Functions that write cannot be told by their names alone: a READ ONLY transaction stands behind this.
    """
    # quoted names stay as names for the functions, and vanish for the keywords
    bare = _NOISE.sub(_blank, sql)
    if _EFFECTS.search(bare):
        return False
    words = re.sub(r'"[^"]*"|`[^`]*`', " x ", bare)
    return all(_one(part.strip(" \t\r\n(")) for part in words.split(";") if part.strip())


def _blank(match: re.Match[str]) -> str:
    return match[0] if match.lastgroup == "name" or match["name"] else " '' " if match["string"] else " "


def _one(statement: str) -> bool:
    first = _WORD.match(statement)
    if first is None:
        return False
    verb = first[0].upper()
    if verb == "SET":
        return _READ_ONLY.fullmatch(statement) is not None
    if verb == "PRAGMA":
        name = _WORD.match(statement[first.end() :].strip())
        return "=" not in statement and name is not None and name[0].lower() in _PRAGMAS
    if verb not in _READING or _READ_WRITE.search(statement):
        return False
    words = [word.upper() for word in _WORD.findall(statement)]
    if verb == "EXPLAIN" and "ANALYZE" not in words and "ANALYSE" not in words:
        return True
    return _WRITING.isdisjoint(words)
