"""What can be wrong in the blocks, as problems with a way out."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, NotFound, Problem


class WorkerNotRunning(Conflict):
    """The worker was not started, or was stopped; nothing was accepted."""

    code = "worker-not-running"
    title = "The worker does not run"
    help = "Call start() first, or use the worker in a 'with' block."


class WorkerQueueFull(Problem):
    """As many jobs wait as may; nothing was accepted."""

    code = "worker-queue-full"
    status = 429
    title = "Too many jobs wait for this worker"
    help = "Submit again later, or make the worker with more 'max_workers' or a larger 'max_pending'."


class BadDatabase(Invalid):
    """The arguments do not name one database."""

    code = "bad-database"
    title = "The database is not described correctly"
    help = "Say use_memory=True, or db_url= with a postgresql:// or sqlite:/// address, and not both."


class ProductionDatabase(Forbidden):
    """The database is marked as one of production; it was not touched."""

    code = "database-is-production"
    title = "A sandbox does not open a database of production"
    help = "Use use_memory=True, a database of its own, or a sandbox of the control plane."


class DatabaseClosed(Conflict):
    """The manager was cleaned up."""

    code = "database-closed"
    title = "The database manager was cleaned up"
    help = "Make a new one."


class NotDisposable(Conflict):
    """Nobody said that the database may be emptied."""

    code = "database-not-disposable"
    title = "This database may hold something that must be kept"
    help = "Make the manager with disposable=True if everything in the database may be dropped."


class TooManySources(Conflict):
    """The heartbeat watches as many sources as it may."""

    code = "too-many-heartbeat-sources"
    title = "Too many sources are watched"
    help = "Beat under one name per watched thing, not one per call; forget(name) those that have ended."


class TooManySubscribers(Conflict):
    """As many subscribers listen as may."""

    code = "too-many-subscribers"
    title = "Too many subscribers listen to alerts"
    help = "Call unsubscribe() of those that have ended; one with a pattern can stand for many."


class NotInitialized(Conflict):
    """The orchestrator was not initialized, or was cleaned up."""

    code = "orchestrator-not-initialized"
    title = "The orchestrator is not initialized"
    help = "Call initialize() first, or use it in a 'with' block."


class NoSuchAlert(NotFound):
    """There is no alert of this id, or it was forgotten."""

    code = "no-such-alert-here"
    title = "There is no such alert in this process"
    help = "get_alerts() lists those that are remembered."
