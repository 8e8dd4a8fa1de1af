"""Why somebody is not told what happens."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class TooManyStreams(Problem):
    """The key, or all keys together, have as many open streams as one process keeps."""

    code = "too-many-streams"
    status = 429
    title = "Too many streams are open"
    help = "Close streams that nobody reads; one stream can carry every topic."
