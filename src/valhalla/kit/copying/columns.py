"""The rows as Arrow's columns: COPY in its binary form, decoded in C a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote

from valhalla.kit.copying.reading import AwayError, Key, select, session
from valhalla.kit.copying.spec import Plan

# an extra without types; who has not installed it finds that out here
adbc: Any = import_module("adbc_driver_manager")
driver: Any = import_module("adbc_driver_postgresql")
pa: Any = import_module("pyarrow")
_BATCH: Final = 2**21


class RefusedError(Exception):
    """The server will not do that."""


class Columns:
    """A session that reads pieces. Its calls wait: they are for a thread."""

    def __init__(self, plan: Plan) -> None:
        """Connect.

        Raises:
            AwayError: there is no server.
        """
        self._plan = plan
        try:
            self._connection = adbc.AdbcConnection(driver.connect(_address(plan)))
        except adbc.Error as error:
            raise AwayError(str(error)) from error

    def piece(self, after: Key | None, upto: Key | None, take: Callable[[Any], None]) -> int:
        """Hand the record batches of a piece to ``take``, and return how many rows they had.

        Raises:
            AwayError, RefusedError: not all came.
        """
        rows = 0
        with adbc.AdbcStatement(self._connection) as statement:
            statement.set_options(**{driver.StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH)})
            statement.set_sql_query(select(self._plan.query, after, upto))
            reader = self._checked(lambda: pa.RecordBatchReader.from_stream(statement.execute_query()[0]))
            with reader:
                while (batch := self._checked(lambda: next(reader, None))) is not None:
                    take(batch)
                    rows += batch.num_rows
        return rows

    def _checked(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except (adbc.Error, pa.ArrowException, OSError) as error:
            # what fails in the middle of a stream comes without its code: who still answers has refused
            raise (RefusedError if self._is_there() else AwayError)(str(error)) from error

    def _is_there(self) -> bool:
        try:
            with adbc.AdbcStatement(self._connection) as statement:
                statement.set_sql_query("SELECT 1")
                pa.RecordBatchReader.from_stream(statement.execute_query()[0]).read_all()
        except (adbc.Error, pa.ArrowException, OSError):
            return False
        return True


def _address(plan: Plan) -> str:
    """Return the DSN with the session's settings, as libpq reads them."""
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in session(plan).items())
    mark = "&" if "?" in plan.dsn else "?"
    return f"{plan.dsn}{mark}connect_timeout=10&options={quote(options, safe='')}"
