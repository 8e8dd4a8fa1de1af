"""A control plane of its own for a project's tests: started by the first user, shared, stopped after the last.

Nothing here asks a user to say goodbye: a user is a process, and one that is gone counts no more.
"""

from valhalla.sdk.hosting.home import Home
from valhalla.sdk.hosting.plane import StartFailed, join, leave

__all__ = ["Home", "StartFailed", "join", "leave"]
