"""Work that must not hurt its caller, whatever it does: in a child process, with a bound on time and memory."""

from valhalla.kit.children.child import Child, ChildFailed, Children

__all__ = ["Child", "ChildFailed", "Children"]
