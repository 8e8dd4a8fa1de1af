"""The HTTP face that every registry has: list, read, write, history, diff, rollback, bulk and dry run."""

from valhalla.kit.registry_routes.face import Face
from valhalla.kit.registry_routes.routes import registry_router

__all__ = ["Face", "registry_router"]
