"""One process's share of a test run: it makes sandboxes, ends them beside the tests, and leaves nothing."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

import pytest

from valhalla.pytest_plugin import where
from valhalla.pytest_plugin.keys import FAILED, OPENED
from valhalla.pytest_plugin.marks import TAG, Mark
from valhalla.sdk import lending
from valhalla.sdk.client import Client
from valhalla.sdk.creating import creation
from valhalla.sdk.errors import ApiProblem, ValhallaError
from valhalla.sdk.hosting import Home, leave
from valhalla.sdk.opened import OpenSandbox

# how many may be on their way out while the next test runs: they count against an owner's limit
_ENDING: Final = 2
_GONE_WITHIN: Final = 10.0
_LOOK_EVERY: Final = 0.02


class Run:
    """Made when the first test asks for a sandbox."""

    def __init__(self, config: pytest.Config) -> None:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        self.keeps = bool(config.getoption("--keep-sandboxes"))
        # a run has owners of its own, one for each worker: each has the whole limit
        run_id = given.get("testrunuid", secrets.token_hex(4))[:8]
        self.owner: str | None = f"pytest-{run_id}-{given.get('workerid', 'main')}"
        self._config = config
        self._tag = f"{TAG}:{self.owner}"
        self._defaults = {"template": config.getini("valhalla_template"), "ttl": config.getini("valhalla_ttl")}
        self._metadata = {TAG: Mark.own(keep=self.keeps).document()}
        self._enders = ThreadPoolExecutor(1, thread_name_prefix="valhalla-end")
        self._ending: list[Future[None]] = []
        self._kept: set[str] = set()
        self._refused: ValhallaError | None = None

    @cached_property
    def place(self) -> where.Place:
        """The control plane; what killed runs have left on it was destroyed."""
        if self._refused is None:
            try:
                place = where.find(self._config)
                _sweep(place.client)
            except ValhallaError as error:
                # the next test would wait as long for the same answer
                self._refused = error
            else:
                return place
        help_ = getattr(self._refused, "help", "")
        pytest.fail(f"no control plane for the sandboxes: {self._refused}\n{help_}".rstrip(), pytrace=False)

    @property
    def client(self) -> Client:
        """The client that makes the sandboxes."""
        return self.place.client

    @contextlib.contextmanager
    def lend(self, node: Any, **args: Any) -> Generator[OpenSandbox]:
        """Make a sandbox for a test or the session and end it afterwards, or keep it when the test has failed."""
        opened = self._make(**args)
        node.stash.setdefault(OPENED, []).append(opened)
        try:
            yield opened
        finally:
            opened.forget()
            if self.keeps and node.stash.get(FAILED, False):
                self._keep(opened)
            else:
                self._end(opened)

    def close(self) -> Home | None:
        """Wait until every sandbox of this process is gone; return the home of the control plane started for tests."""
        self._enders.shutdown()
        if "place" not in self.__dict__:
            return None
        try:
            for error in filter(None, (ending.exception() for ending in self._ending)):
                _complain(error)
            self._see_them_gone()
        except ValhallaError as error:
            _complain(error)
        finally:
            self.client.close()
            if self.place.home is not None:
                leave(self.place.home)
        return self.place.home

    def _make(self, name: str | None = None, **args: Any) -> OpenSandbox:
        wanted: dict[str, Any] = {
            **{key: value for key, value in self._defaults.items() if value},
            "owner": self.owner,
            **args,
        }
        wanted["tags"] = [*args.get("tags", ()), TAG, self._tag]
        wanted["metadata"] = {**(args.get("metadata") or {}), **self._metadata}
        try:
            sandbox = lending.make(self.client, creation(name, **wanted))
        except ApiProblem as problem:
            if problem.code != "forbidden" or self.owner is None or "owner" in args:
                raise
            # no admin's key: it makes sandboxes for its own owner only
            self.owner = None
            return self._make(name, **args)
        return OpenSandbox(sandbox, sandbox.connection or self.client.connection(sandbox.id))

    def _end(self, opened: OpenSandbox) -> None:
        self._ending = [ending for ending in self._ending if not ending.done() or ending.exception()]
        if len(self._ending) >= _ENDING:
            with contextlib.suppress(ValhallaError):
                self._ending[-_ENDING].result()
        self._ending.append(self._enders.submit(lending.end, self.client, opened.id))

    def _keep(self, opened: OpenSandbox) -> None:
        self._kept.add(opened.id)
        if self.place.home is not None and opened.expires_at is not None:
            self.place.home.keep(opened.expires_at.timestamp())

    def _see_them_gone(self) -> None:
        """Wait for what destroying leaves to the background; the control plane may end with us."""
        until = time.monotonic() + _GONE_WITHIN
        while time.monotonic() < until:
            if not [one for one in self.client.iterate(tag=self._tag) if one.id not in self._kept]:
                return
            time.sleep(_LOOK_EVERY)
        _complain(f"sandboxes tagged {self._tag} are not gone after {_GONE_WITHIN:.0f} s; they end with their TTL")


def _sweep(client: Client) -> None:
    """Destroy what runs of this machine that were killed have left."""
    for sandbox in list(client.iterate(tag=TAG, status="running")):
        mark = Mark.read(sandbox.metadata.get(TAG))
        if mark is not None and mark.is_abandoned:
            lending.end(client, sandbox.id)


def _complain(what: object) -> None:
    sys.stderr.write(f"valhalla: {what}\n")
