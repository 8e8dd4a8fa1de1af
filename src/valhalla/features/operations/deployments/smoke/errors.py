"""What can be wrong with smoke suites and their runs."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class BadSuite(Invalid):
    """The suite cannot be run as it is written."""

    code = "smoke-bad-suite"
    title = "This is no valid smoke suite"
    help = "docs/deployments.md shows every member of a suite."


class SuiteNotFound(NotFound):
    """No suite has this name."""

    code = "smoke-suite-not-found"
    title = "There is no such smoke suite"
    help = "'valhalla smoke ls' lists them."


class RunNotFound(NotFound):
    """No run has this id, or it is older than what is kept."""

    code = "smoke-run-not-found"
    title = "There is no such smoke run"
    help = "'valhalla smoke runs' lists them; those older than 90 days are removed."


class RemedyImpossible(Conflict):
    """The declared change cannot be made."""

    code = "smoke-remedy-impossible"
    title = "The declared rollback cannot be made"
    help = "Correct the suite's 'on_failure', and roll back by hand now."


class NothingToUndo(Conflict):
    """The run has not failed, or its suite declares nothing for that."""

    code = "smoke-nothing-to-undo"
    title = "There is nothing to undo"
    help = "A suite says in 'on_failure' what a failed run of it, against its own base URL, changes."
