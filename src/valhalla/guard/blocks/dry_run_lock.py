"""``DryRunLock``: in a dry run only what was declared reversible is called."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Final, overload

from valhalla.guard.blocks.journal import Journal, shown
from valhalla.guard.errors import BadName
from valhalla.guard.guard import Guard
from valhalla.guard.names import check_name
from valhalla.kit.log import get_logger

READING: Final = ("read_", "get_", "list_", "count_", "find_", "describe_")
_log = get_logger("guard.dry_run_lock")


class DryRunLock:
    """Holds what nobody declared reversible. Names that can be mistaken for others are held too.

    Actions of the guard that a reversible action calls are held by the same dry run.
    """

    IRREVERSIBLE_ACTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            "payment", "transfer", "delete_permanent", "external_call", "financial_commit", "data_export_external",
            "user_deletion", "bulk_update_production",
        }
    )  # fmt: skip
    """Examples, for programs that show them; everything that is not declared reversible is held, named here or not."""

    def __init__(
        self,
        dry_run: bool = True,
        strict_mode: bool = False,
        *,
        reversible: Iterable[str] = (),
        reversible_prefixes: Iterable[str] = READING,
        guard: Guard | None = None,
    ) -> None:
        """``reversible`` names may run in a dry run, as may names with one of the prefixes.

        Raises:
            BadName: a reversible name can be mistaken for another.
        """
        self.strict_mode = strict_mode
        self._dry_run = dry_run
        self._reversible = frozenset(check_name(name) for name in reversible)
        self._prefixes = tuple(reversible_prefixes)
        self._guard = guard or Guard()
        self._journal = Journal()
        self._switching = threading.Lock()

    @property
    def dry_run(self) -> bool:
        """Whether this is a dry run; ``go_live`` and ``go_dry`` change it, and write down who did."""
        return self._dry_run

    def go_live(self, *, by: str, reason: str) -> None:
        """End the dry run."""
        self._switch(False, by, reason)

    def go_dry(self, *, by: str, reason: str) -> None:
        """Begin a dry run."""
        self._switch(True, by, reason)

    def _switch(self, dry_run: bool, by: str, reason: str) -> None:
        with self._switching:
            self._journal.add("dry_run", status="dry_run_on" if dry_run else "dry_run_off", by=by, reason=reason)
            self._dry_run = dry_run

    def is_reversible(self, action_name: object) -> bool:
        """Say whether an action of this name may run in a dry run."""
        try:
            name = check_name(action_name)
        except BadName:
            return False
        return name in self._reversible or (bool(self._prefixes) and name.startswith(self._prefixes))

    @overload
    def execute(self, action_name: str, action: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def execute(self, action_name: str, /, *, action: Callable[..., Any], **kwargs: Any) -> Any: ...

    @overload
    def execute(self, *, action_name: str, action: Callable[..., Any], **kwargs: Any) -> Any: ...

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Call ``action`` and return its value; in a dry run only if it is reversible.

        The first two may be given by name: ``execute(action_name=…, action=…)``. Given by their place, these names are
        free for the action's own arguments.

        What is held answers ``{"dry_run": True, "action": name, "result": None}``. An async action that may run
        gives an awaitable.

        Raises:
            PermissionError: held, in strict mode.
            TypeError: name or action is missing.
            Exception: what the action raised.
        """
        for name in ("action_name", "action")[len(args) :]:
            if name not in kwargs:
                raise TypeError(f"execute() needs {name!r}")
            args += (kwargs.pop(name),)
        action_name, action, *rest = args
        args = tuple(rest)
        log = _canonical(action_name)
        dry_run = self._dry_run
        if dry_run and not self.is_reversible(action_name):
            self._journal.add(
                log, status="dry_run_blocked", action=str(action_name), args=shown(args), kwargs=shown(kwargs)
            )
            _log.warning("held in a dry run", action=log)
            if self.strict_mode:
                raise PermissionError(f"'{log}' is held: this is a dry run, and nobody declared it reversible")
            return {"dry_run": True, "action": action_name, "result": None}
        if inspect.iscoroutinefunction(action):
            return self._arun(functools.partial(action, *args, **kwargs), log, action_name, dry_run)
        with self._running(log, action_name, dry_run):
            return action(*args, **kwargs)

    async def _arun(self, action: Callable[[], Any], log: str, action_name: object, dry_run: bool) -> Any:
        # its body runs here, so here is where the lock must be on
        with self._running(log, action_name, dry_run):
            return await action()

    @contextmanager
    def _running(self, log: str, action_name: object, dry_run: bool) -> Generator[None]:
        try:
            with self._mode(dry_run):
                yield
        except BaseException as error:
            self._journal.add(log, status="error", action=str(action_name), error=shown(str(error)))
            raise
        self._journal.add(log, status="executed", action=str(action_name), result="success")

    def surroundings(self) -> AbstractContextManager[Any]:
        """Return what calls of the guard are made in so that this lock, as it is now, holds them."""
        return self._mode(self._dry_run)

    def note(self, action_name: object, status: str, **entry: Any) -> None:
        """Write down what became of a call that was made in the lock's surroundings."""
        self._journal.add(_canonical(action_name), status=status, action=str(action_name), **entry)

    def _mode(self, dry_run: bool) -> AbstractContextManager[Any]:
        # a reversible action that calls an irreversible one of the guard must not get it past the lock
        return self._guard.dry_run() if dry_run else nullcontext()

    def get_execution_log(self, action_name: str | None = None) -> Any:
        """Return a name's entries, or all entries by name; case and blanks at the ends make no difference."""
        return self._journal.everything() if action_name is None else self._journal.read(_canonical(action_name))


def _canonical(name: object) -> str:
    return str(name).strip().casefold()[:100]
