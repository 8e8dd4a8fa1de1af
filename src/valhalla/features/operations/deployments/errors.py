"""What can be wrong with a request about deployments."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, NotFound


class DeploymentNotFound(NotFound):
    """No deployment has this id."""

    code = "deployment-not-found"
    title = "There is no such deployment"
    help = "'valhalla deployment ls' lists them."


class VerdictMissing(Conflict):
    """Its last smoke test failed."""

    code = "deployment-smoke-failed"
    title = "The deployment's last smoke test failed"
    help = "Run the suite again ('valhalla smoke run SUITE --deployment ID'), finish it as failed, or send 'force'."


class BadRollback(Conflict):
    """What it says it rolls back is of another service or environment, or is rolled back already."""

    code = "deployment-bad-rollback"
    title = "That deployment cannot be rolled back by this one"
    help = "Name a succeeded or failed deployment of the same service and environment."
