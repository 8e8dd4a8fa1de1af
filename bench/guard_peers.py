"""What a user would compose instead of the guard: limits, powertools idempotency, tenacity and structlog."""

from __future__ import annotations

import contextvars
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")


def composed(
    work: Callable[[str, int, str], dict[str, str]],
    *,
    storage: Any = None,
    layer: Any = None,
    note: Callable[[str], object] | None = None,
) -> Callable[[str, int, str], Any]:
    """Return ``work`` with a request id, a limit, dedup with payload check, retries and a JSON line.

    ``storage`` and ``layer`` replace the limits' and the results' memory; then the payload is not checked, because
    powertools refuses even the same one there. ``note`` takes the order for a ledger.
    """
    import orjson
    import structlog
    from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
    from limits import RateLimitItemPerHour
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter
    from tenacity import retry, stop_after_attempt, wait_random_exponential

    limiter = FixedWindowRateLimiter(storage or MemoryStorage())
    limit = RateLimitItemPerHour(10_000_000)
    log = structlog.wrap_logger(
        structlog.BytesLogger(Path(os.devnull).open("ab", buffering=0)),  # noqa: SIM115 - lives as long as the logger
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.JSONRenderer(orjson.dumps),
        ],
        cache_logger_on_first_use=True,
    )

    @idempotent_function(
        data_keyword_argument="order",
        persistence_store=layer or _layer(),
        config=IdempotencyConfig(event_key_jmespath="id", payload_validation_jmespath="" if layer else "amount"),
    )
    @retry(stop=stop_after_attempt(4), wait=wait_random_exponential(0.1, 30), reraise=True)
    def guarded(order: dict[str, Any]) -> dict[str, str]:
        return work(order["id"], order["amount"], order["currency"])

    def call(order: str, amount: int, currency: str) -> Any:
        token = request_id.set(str(uuid.uuid4()))
        try:
            if not limiter.hit(limit, "payment"):
                raise PermissionError
            value = guarded(order={"id": order, "amount": amount, "currency": currency})
            if note is not None:
                note(order)
            log.info("payment", order=order, state="succeeded", request_id=request_id.get())
            return value
        finally:
            request_id.reset(token)

    return call


def _layer() -> Any:
    """Return a memory layer for powertools, which ships none."""
    from aws_lambda_powertools.utilities.idempotency.exceptions import (
        IdempotencyItemAlreadyExistsError,
        IdempotencyItemNotFoundError,
    )
    from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

    class Memory(BasePersistenceLayer):
        def __init__(self) -> None:
            super().__init__()
            self.rows: dict[str, DataRecord] = {}

        def _get_record(self, idempotency_key: str) -> DataRecord:
            try:
                return self.rows[idempotency_key]
            except KeyError:
                raise IdempotencyItemNotFoundError from None

        def _put_record(self, data_record: DataRecord) -> None:
            found = self.rows.setdefault(data_record.idempotency_key, data_record)
            if found is not data_record and (found.expiry_timestamp or 0) > time.time():
                raise IdempotencyItemAlreadyExistsError(old_data_record=found)

        def _update_record(self, data_record: DataRecord) -> None:
            data_record.payload_hash = data_record.payload_hash or self.rows[data_record.idempotency_key].payload_hash
            self.rows[data_record.idempotency_key] = data_record

        def _delete_record(self, data_record: DataRecord) -> None:
            self.rows.pop(data_record.idempotency_key, None)

    return Memory()
