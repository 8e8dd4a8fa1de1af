"""Composition: the view, when the setting is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valhalla.kernel.problems import Misconfigured
from valhalla.runtime import Runtime

if TYPE_CHECKING:
    from valhalla.server.graphql.view import GraphView


def graph_view(runtime: Runtime) -> GraphView | None:
    """Return the view; None where the setting is off.

    Raises:
        Misconfigured: it is on, and Strawberry is not installed.
    """
    if not runtime.settings.graphql:
        return None
    try:
        from valhalla.server.graphql.view import GraphView
    except ImportError as error:
        raise Misconfigured(
            "GraphQL needs Strawberry", setting="graphql", help="pip install 'valhalla[graphql]'"
        ) from error
    return GraphView(runtime)
