"""Making a sandbox's slices, and filling them from its template."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from valhalla.kernel.problems import Unavailable
from valhalla.kit.faults import crashpoint
from valhalla.kit.sqlstates import shortage
from valhalla.sandbox import access
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.slices.contracts import Slice
from valhalla.sandbox.templates import BuiltIn, Filling, Template, seed


async def provision(sandbox: Sandbox, filling: Filling, backends: Backends, away: set[str]) -> None:
    """Make every slice and its contents; what does not answer is noted in ``away``.

    Raises:
        TemplateFailed: the template's SQL or command failed.
        Unavailable: a backend cannot be reached.
    """
    names, expires_at = sandbox.names, sandbox.expires_at
    template = filling.postgres

    def make(part: Slice) -> Coroutine[Any, Any, None]:
        if part is backends.postgres:
            # trusted SQL runs in the transaction that makes the schema
            contents = template.sql if isinstance(template, BuiltIn) else None
            return backends.postgres.provision(names, expires_at=expires_at, seed=contents)
        if part is backends.sqlite:
            return backends.sqlite.provision(names, expires_at=expires_at, contents=filling.sqlite)
        return part.provision(names, expires_at=expires_at)

    failures = await backends.each("create", names, make)
    away |= {name for name, error in failures.items() if is_silent(error)}
    for error in failures.values():
        raise error
    if template is not None and not isinstance(template, BuiltIn):
        await _fill(sandbox, template, backends)
        crashpoint("create.seeded")


async def refill(sandbox: Sandbox, filling: Filling, backends: Backends, *, expires_at: datetime) -> None:
    """Fill slices that have been emptied.

    Raises:
        TemplateFailed: the template's SQL or command failed.
        Unavailable: a backend cannot be reached.
    """
    if filling.sqlite is not None:
        await backends.sqlite.provision(sandbox.names, expires_at=expires_at, contents=filling.sqlite)
    if isinstance(filling.postgres, BuiltIn):
        await backends.postgres.seed(sandbox.names, filling.postgres.sql)
    elif filling.postgres is not None:
        await _fill(sandbox, filling.postgres, backends)


async def _fill(sandbox: Sandbox, template: Template, backends: Backends) -> None:
    assert not isinstance(template, BuiltIn)
    async with access.creds_file(backends, sandbox) as environment:
        await seed(template, login=lambda: backends.postgres.login(sandbox.names), environment=environment)


def is_silent(error: BaseException) -> bool:
    """Say whether a backend cannot be reached; one that only lacks something can be told to clean up."""
    return isinstance(error, Unavailable) and shortage(error) is None
