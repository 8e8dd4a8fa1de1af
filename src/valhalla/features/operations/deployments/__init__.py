"""Deployments: what went where and what became of it, with smoke tests that judge it."""

from valhalla.features.operations.deployments.contracts import Deployment, Draft
from valhalla.features.operations.deployments.feature import Deployments
from valhalla.features.operations.deployments.service import DeploymentService
from valhalla.features.operations.deployments.smoke import REMEDY

__all__ = ["REMEDY", "Deployment", "DeploymentService", "Deployments", "Draft"]
