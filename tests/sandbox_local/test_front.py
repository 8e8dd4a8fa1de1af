"""How a program comes to a box: light, and callable by every way of importing it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "sqlalchemy", "asyncpg", "psycopg", "redis", "nats", "pydantic", "msgspec", "fastapi", "click", "asyncio"


@pytest.mark.parametrize(
    "line", ["import valhalla.sandbox.local", "from valhalla.sandbox import local; local().close()"]
)
def test_it_needs_the_standard_library_alone(line: str) -> None:
    code = f"{line}\nimport sys\nprint(*({{m.partition('.')[0] for m in sys.modules}} & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "code",
    [
        "import valhalla.sandbox; valhalla.sandbox.local().close()",
        "import valhalla.sandbox.local; valhalla.sandbox.local().close()",
        "import valhalla.sandbox.local; from valhalla.sandbox import local; local('empty', path=None).close()",
        "from valhalla.sandbox.local import local; local().close()",
    ],
)
def test_it_can_be_called_however_it_was_imported(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_knows_no_other_names() -> None:
    import valhalla.sandbox

    with pytest.raises(AttributeError, match="locale"):
        valhalla.sandbox.locale  # noqa: B018  # type: ignore[attr-defined]
