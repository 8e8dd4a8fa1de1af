"""A value that a control plane keeps current in this process: read without asking, renewed by a thread that waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request, params

if TYPE_CHECKING:
    from valhalla.sdk.client import Client

V = TypeVar("V")

WAIT: Final = 25.0
PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


class Followed(Generic[V]):
    """``value`` is what ``build`` made of the newest document; while nobody answers the last one stays."""

    def __init__(
        self,
        client: Client,
        path: str,
        query: Mapping[str, str],
        build: Callable[[dict[str, Any], V | None], V],
        *,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Load the value and begin to follow. ``after`` is called after every answer, in the thread.

        Raises:
            ApiProblem, Unreachable: it cannot be loaded.
        """
        self._client = client
        self._path = path
        self._query = dict(query)
        self._build = build
        self._after = after
        self._stop = threading.Event()
        self.error: str | None = None
        """Why the value may be old; None while it is followed."""
        document = self._ask({})
        assert document is not None
        self._revision: str = document["revision"]
        self.value: V = build(document, None)
        threading.Thread(target=self._follow, name=f"valhalla:{path}", daemon=True).start()

    def close(self) -> None:
        """Stop following; the value stays."""
        self._stop.set()

    def refresh(self) -> None:
        """Ask now."""
        self._take(self._ask({"watch": self._revision, "wait": "0"}))

    def _follow(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._take(self._ask({"watch": self._revision, "wait": str(WAIT)}))
                self._after()
                self.error, failures = None, 0
            except (ApiProblem, Unreachable) as error:
                self.error = str(error)
                self._stop.wait(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1

    def _take(self, document: dict[str, Any] | None) -> None:
        if document is not None and not self._stop.is_set():
            self.value = self._build(document, self.value)
            self._revision = document["revision"]

    def _ask(self, query: Mapping[str, str]) -> dict[str, Any] | None:
        return self._client.document(asking(self._path, {**self._query, **query}))


def asking(path: str, query: Mapping[str, str]) -> Request[Any]:
    """Return the request for the newest document; 304 where it is the one that is watched."""
    return Request("GET", path, dict[str, Any], params=params(**query), accept=frozenset({304}), timeout=WAIT + 10)
