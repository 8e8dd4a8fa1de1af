"""Starting a runtime such that what an external Postgres says against it names the setting."""

from __future__ import annotations

from collections.abc import Callable

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.sqlstates import sqlstate
from valhalla.runtime import Runtime

_BOOTSTRAP = "'valhalla db bootstrap' with a superuser's URL makes role and database and prints the URL to set."


async def start(runtime: Runtime, keep_admin_key: Callable[[str], None]) -> None:
    """Start a runtime; ``keep_admin_key`` stores the key of a first start.

    Raises:
        Misconfigured: a backend cannot do what is needed, or does not let us in; says which and why.
        Unavailable: a backend cannot be reached.
    """
    try:
        await runtime.start(keep_admin_key)
    except Exception as error:
        problem = _explain(sqlstate(error) or "")
        if problem is None:
            raise
        raise problem from error


def _explain(state: str) -> Misconfigured | None:
    match state[:2], state:
        case "28", _:
            detail = "Postgres refuses the role or its password"
        case _, "3D000":
            detail = "Postgres has no database of that name"
        case _, "42501":
            detail = "the role may not make what the control plane needs in its own database"
        case _:
            return None
    return Misconfigured(detail, help=_BOOTSTRAP, setting="database_url")
