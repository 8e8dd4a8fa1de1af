"""What a sandbox may do on the shared server, as the words of one ACL rule. Pure.

An allow-list: ``~{id}:*`` guards keyed commands only, so SCAN, RANDOMKEY, DBSIZE, CLIENT, CONFIG, EVAL and
the like would still read, count or stop what belongs to others (redis/redis#8152, valkey-io/valkey#370).
"""

from __future__ import annotations

import hashlib
from typing import Final

from valhalla.kernel.ids import is_id
from valhalla.sandbox.slices.contracts import Names

Version = tuple[int, int]

OLDEST: Final[Version] = (7, 0)
"""6.2 has no sub-command rules for all that is refused here, and opens every channel by default."""

_ALLOWED: Final = (
    "+@string +@hash +@list +@set +@sortedset +@stream +@bitmap +@hyperloglog +@geo +@transaction",
    "+subscribe +unsubscribe +psubscribe +punsubscribe +publish +ssubscribe +sunsubscribe +spublish",
    "+del +unlink +exists +expire +pexpire +expireat +pexpireat +expiretime +pexpiretime +ttl +pttl +persist",
    "+type +rename +renamenx +touch +object|encoding +object|freq +object|idletime +object|refcount",
    "+ping +echo +hello +auth +quit +client|setname +client|getname +client|id",
)

# Sorting reads keys by pattern; the rest sits in an allowed category on some versions.
_REFUSED: Final = ("-sort -sort_ro -pfdebug -pfselftest -restore-asking",)


def allowed_commands(version: Version) -> list[str]:
    """Return the command part of the rule for a server of this Redis level."""
    # before 7.2 the server does not know the sub-command and refuses the whole rule
    setinfo = ("+client|setinfo",) if version >= (7, 2) else ()
    return [word for line in ("-@all", *_ALLOWED, *setinfo, *_REFUSED) for word in line.split()]


def user_rule(names: Names, password: str, version: Version) -> list[str]:
    """Return the arguments of ``ACL SETUSER`` after the user's name; they replace whatever the user had.

    Raises:
        ValueError: the id has not the form that ``kernel.ids`` makes; its patterns could match more than it.
    """
    if not is_id(names.id):
        raise ValueError("not a sandbox id")
    secret = hashlib.sha256(password.encode()).hexdigest()
    # resetchannels is explicit because after a reset the server's default may be every channel
    scope = ["resetchannels", f"~{names.key_prefix}*", f"&{names.key_prefix}*"]
    return ["reset", "on", f"#{secret}", *scope, *allowed_commands(version)]


def read_version(text: str) -> Version:
    """Return major and minor of ``redis_version``: in Valkey, the Redis level it is compatible with."""
    major, minor, *_ = [*text.split("."), "0"]
    return int(major), int(minor)
