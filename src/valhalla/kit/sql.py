"""Quoting for the few statements that cannot take parameters (DDL)."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a Postgres identifier.

    Raises:
        ValueError: it is empty, longer than 63 bytes (Postgres would cut it silently) or holds a NUL.
    """
    if not name or len(name.encode()) > 63 or "\x00" in name:
        raise ValueError(f"not a Postgres identifier: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a Postgres string constant, independent of ``standard_conforming_strings``.

    Raises:
        ValueError: it holds a NUL.
    """
    if "\x00" in text:
        raise ValueError("a Postgres string cannot hold a NUL")
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"
