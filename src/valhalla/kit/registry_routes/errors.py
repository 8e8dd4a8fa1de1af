"""What writing a record over HTTP can meet beside the registry's own problems."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Problem


class AlreadyExists(Conflict):
    """A record with this key is there."""

    code = "already-exists"
    title = "There already is one with this key"
    help = "Choose another key, or change the one that exists with PUT or PATCH."


class PreconditionRequired(Problem):
    """This registry changes no record without being told which version of it was read."""

    code = "precondition-required"
    status = 428
    title = "Say which version you have read"
    help = "Read the record and send its ETag as If-Match (or 'If-None-Match: *' to create)."
