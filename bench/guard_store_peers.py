"""What a user would write by hand: limit, key, ledger line, result and second line as separate statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg


def separate(url: str) -> Callable[[str], Any]:
    """Return a payment that is guarded by five statements, each with its commit."""
    conn = psycopg.connect(url, autocommit=True)
    conn.execute("CREATE TABLE keys (k text PRIMARY KEY, state text, value text, lease timestamptz)")
    conn.execute("CREATE TABLE counters (name text PRIMARY KEY, n bigint)")
    conn.execute("CREATE TABLE audit (at timestamptz DEFAULT now(), k text, event text)")

    def pay(order: str) -> str:
        conn.execute(
            "INSERT INTO counters VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET n = counters.n + 1 RETURNING n",
            ("payment",),
        )
        conn.execute(
            "INSERT INTO keys VALUES (%s, 'executing', NULL, now() + interval '60 s') ON CONFLICT DO NOTHING", (order,)
        )
        conn.execute("INSERT INTO audit (k, event) VALUES (%s, 'begin')", (order,))
        conn.execute("UPDATE keys SET state = 'succeeded', value = %s WHERE k = %s", (order, order))
        conn.execute("INSERT INTO audit (k, event) VALUES (%s, 'finish')", (order,))
        return order

    return pay
