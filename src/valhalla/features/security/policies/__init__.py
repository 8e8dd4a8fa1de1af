"""Security policies: conditions in CEL over requests and what honeypots catch, and the security mode."""

from valhalla.features.security.policies.conditions import Condition, context
from valhalla.features.security.policies.contracts import Policy
from valhalla.features.security.policies.facts import compile_rule
from valhalla.features.security.policies.feature import Policies

__all__ = ["Condition", "Policies", "Policy", "compile_rule", "context"]
