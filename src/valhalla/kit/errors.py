"""What can be wrong with what the kit reads."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class BadCheckpoint(Problem):
    """A checkpoint has not the form of one, or another key signed it."""

    code = "bad-checkpoint"
    status = 422
    title = "The checkpoint is not genuine"
    help = "Compare the public key with the one that was noted first; a changed key or note is what this protects from."
