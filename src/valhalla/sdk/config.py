"""Configuration in this process: ``valhalla.config["checkout/timeout-ms"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from valhalla.sdk.following import Followed

if TYPE_CHECKING:
    from valhalla.sdk.client import Client

T = TypeVar("T")


class Config(Mapping[str, Any]):
    """The values of one environment, kept current. Connects when it is first read."""

    def __init__(self, client: Client | None = None, *, environment: str | None = None) -> None:
        """Without a client the control plane is found as ``Client()`` finds it; ``environment`` is its own."""
        self._client = client
        self._query = {} if environment is None else {"environment": environment}
        self._held: Followed[Mapping[str, Any]] | None = None

    def __getitem__(self, key: str) -> Any:
        """Return the value of an entry.

        Raises:
            KeyError: there is no such entry.
        """
        return (self._held or self.follow()).value[key]

    def __iter__(self) -> Iterator[str]:
        return iter((self._held or self.follow()).value)

    def __len__(self) -> int:
        return len((self._held or self.follow()).value)

    def read(self, key: str, default: T) -> T:
        """Return a value of the default's type; the default where there is none, or one of another type."""
        value = (self._held or self.follow()).value.get(key, default)
        if type(value) is type(default):
            return value
        if type(default) is float and type(value) is int:
            return float(value)  # type: ignore[return-value]
        return default

    def follow(self) -> Followed[Mapping[str, Any]]:
        """Load the values and keep them current.

        Raises:
            ApiProblem, Unreachable: they cannot be loaded.
        """
        if self._client is None:
            from valhalla.sdk.client import Client

            self._client = Client()
        self._held = Followed(self._client, "/system/config/values", self._query, lambda found, _: found["values"])
        return self._held

    def close(self) -> None:
        """Stop following; what was read last stays readable."""
        if self._held is not None:
            self._held.close()
