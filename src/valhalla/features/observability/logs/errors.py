"""What can be wrong with a request about log lines."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class LogsFull(Problem):
    """More lines come than can be written, or the database is away; none of those sent now was taken."""

    code = "logs-full"
    status = 503
    title = "There is no room for log lines now"
    help = "Keep them and send them again after 'Retry-After', or drop them."
