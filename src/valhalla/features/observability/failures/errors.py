"""What can be wrong with a request about errors."""

from __future__ import annotations

from valhalla.kernel.problems import NotFound


class NoSuchError(NotFound):
    """No recorded error has this id."""

    code = "error-not-found"
    title = "There is no such error"
    help = "GET /system/errors lists them; those that have not happened for 90 days are removed."
