"""An OpenFeature provider that evaluates in this process (extra ``openfeature``).

>>> api.set_provider(ValhallaProvider())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata  # pyright: ignore[reportMissingTypeStubs]

from valhalla.sdk.flags import Flags


class ValhallaProvider(AbstractProvider):
    """Evaluates with ``Flags``: no request per evaluation, and current within milliseconds of a change."""

    def __init__(self, flags: Flags | None = None) -> None:
        """Without ``flags`` the control plane is found as ``Client()`` finds it."""
        super().__init__()
        self.flags = flags or Flags()

    def get_metadata(self) -> Metadata:
        """Name the provider."""
        return Metadata(name="valhalla")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Load the flags, so that the first evaluation need not."""
        self.flags.follow()

    def shutdown(self) -> None:
        """Stop following."""
        self.flags.close()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Evaluate a switch."""
        return self._resolve(flag_key, default_value, evaluation_context, (bool,))

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Evaluate a text."""
        return self._resolve(flag_key, default_value, evaluation_context, (str,))

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Evaluate a whole number."""
        return self._resolve(flag_key, default_value, evaluation_context, (int,))

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Evaluate a number."""
        found = self._resolve(flag_key, default_value, evaluation_context, (float, int))
        found.value = float(found.value)
        return found

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Evaluate an object."""
        return self._resolve(flag_key, default_value, evaluation_context, (dict, list))

    def _resolve(
        self, key: str, default: Any, context: EvaluationContext | None, types: tuple[type, ...]
    ) -> FlagResolutionDetails[Any]:
        asked: dict[str, Any] = {}
        if context is not None:
            asked = dict(context.attributes)
            if context.targeting_key is not None:
                asked["targetingKey"] = context.targeting_key
        found = self.flags.evaluate(key, asked)
        metadata = dict(found.metadata)
        if found.failure is not None:
            return FlagResolutionDetails(
                default, error_code=ErrorCode(found.failure), error_message=found.details, reason=Reason.ERROR
            )
        if not found.found:
            return FlagResolutionDetails(default, reason=Reason(found.reason), flag_metadata=metadata)
        if type(found.value) not in types:
            return FlagResolutionDetails(
                default,
                error_code=ErrorCode.TYPE_MISMATCH,
                error_message=f"the flag is a {type(found.value).__name__}",
                reason=Reason.ERROR,
            )
        reason = Reason(found.reason)
        return FlagResolutionDetails(found.value, variant=found.variant, reason=reason, flag_metadata=metadata)
