"""Several things in one query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request


def query(text: str, variables: Mapping[str, Any] | None = None) -> Request[dict[str, Any]]:
    """Ask a GraphQL query; ``data`` is what is there, ``errors`` what was refused."""
    return Request("POST", "/graphql", dict[str, Any], body={"query": text, "variables": dict(variables or {})})


class _Graph:
    """What both kinds of client have."""

    query = Call(query)


class Graph(Group, _Graph):
    """GraphQL, where the control plane answers it."""


class AsyncGraph(AsyncGroup, _Graph):
    """GraphQL, where the control plane answers it."""
