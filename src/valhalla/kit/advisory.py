"""The advisory locks of the control plane's database: every key in one place, so that no two meanings share one."""

from __future__ import annotations

from typing import Final

# 64-bit keys: "vh" in the upper bytes, then a number of our own
_BASE: Final = 0x7668 << 32

MIGRATIONS: Final = _BASE | 1
LEDGER_SEAL: Final = _BASE | 2
OUTBOX_DISPATCH: Final = _BASE | 3
ARENAS: Final = _BASE | 4
PARTITIONS: Final = _BASE | 5
NOTIFICATIONS: Final = _BASE | 6
EVENT_ACCOUNTS: Final = _BASE | 7
ORPHANS: Final = _BASE | 8

# 32-bit classes of the two-argument form; the second argument is a hash of what is locked
EVENT_SUBJECT: Final = 0x7668_0001
HONEYPOT_SOURCE: Final = 0x7668_0010
