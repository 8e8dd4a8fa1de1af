"""Ask a target everything that a suite declares: so many at a time, each in its time, all in theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime

import httpx

from valhalla.features.operations.deployments.smoke import rules
from valhalla.features.operations.deployments.smoke.contracts import Attempt, Check, Suite
from valhalla.features.operations.deployments.smoke.rules import Failure
from valhalla.kit.json import dumps
from valhalla.kit.outgoing_guard import AnswerTooLarge, TargetRefused
from valhalla.kit.outgoing_guard.exchange import Answer, exchange

Report = Callable[[Attempt], Awaitable[None]]


class Runner:
    """Runs one suite; ``report`` is told every attempt as it ends."""

    def __init__(
        self,
        suite: Suite,
        base_url: str,
        client: httpx.AsyncClient,
        report: Report,
        *,
        now: Callable[[], datetime],
        secrets: Mapping[str, str],
    ) -> None:
        self._suite = suite
        self._base_url = base_url
        self._client = client
        self._report = report
        self._now = now
        self._secrets = secrets
        self._room = asyncio.Semaphore(suite.concurrency)
        self._ends = time.monotonic() + suite.timeout

    async def run(self, done: Collection[int] = ()) -> None:
        """Run every check but those that are ``done`` (positions).

        Raises:
            Unavailable: an attempt could not be reported.
        """
        async with asyncio.TaskGroup() as group:
            for position, check in enumerate(self._suite.checks):
                if position not in done:
                    group.create_task(self._check(position, check))

    async def _check(self, position: int, check: Check) -> None:
        async with self._room:
            for number in range(1, check.retries + 2):
                left = self._ends - time.monotonic()
                if left <= 0:
                    late: Failure = {"what": "run", "expected": f"{self._suite.timeout:g} s", "actual": "out of time"}
                    await self._tell(position, number, check, None, [late], last=True)
                    return
                answer, failures = await self._attempt(check, min(check.timeout, left))
                last = not failures or number > check.retries or self._ends <= time.monotonic() + check.pause
                await self._tell(position, number, check, answer, failures, last=last)
                if last:
                    return
                await asyncio.sleep(check.pause)

    async def _tell(
        self, position: int, number: int, check: Check, answer: Answer | None, failures: list[Failure], *, last: bool
    ) -> None:
        attempt = Attempt(
            position=position,
            attempt=number,
            name=check.name,
            ok=not failures,
            last=last,
            status=None if answer is None else answer.status,
            latency_ms=None if answer is None else round(answer.seconds * 1000, 3),
            failures=tuple(failures),
            at=self._now(),
        )
        await self._report(attempt)

    async def _attempt(self, check: Check, seconds: float) -> tuple[Answer | None, list[Failure]]:
        """Send one request; whatever becomes of it is an answer or a failure."""
        try:
            request = self._request(check)
            answer = await exchange(self._client, request, seconds=seconds, most=self._suite.max_body)
        except KeyError as missing:
            failure = _failure("variable", "set", f"{missing.args[0]} is not set for the control plane")
        except (TimeoutError, httpx.TimeoutException):
            failure = _failure("timeout", f"an answer within {seconds:.3g} s", "none")
        except AnswerTooLarge:
            failure = _failure("body", f"at most {self._suite.max_body} bytes", "more")
        except TargetRefused as problem:
            failure = _failure("target", "one that may be asked", problem.detail)
        except httpx.ConnectError:
            failure = _failure("connection", "one", "refused, or no way to it")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            failure = _failure("exchange", "an answer", type(error).__name__)
        else:
            return answer, rules.judge(check, answer.status, answer.headers, answer.body, answer.seconds)
        return None, [failure]

    def _request(self, check: Check) -> httpx.Request:
        headers = {name: rules.filled(value, self._secrets) for name, value in check.headers.items()}
        content: bytes | None = None
        if check.body is not None:
            content = check.body.encode() if isinstance(check.body, str) else dumps(check.body)
            headers = {"Content-Type": "text/plain" if isinstance(check.body, str) else "application/json", **headers}
        url = rules.url_of(self._base_url, check.path)
        return self._client.build_request(check.method, url, headers=headers, content=content)


def _failure(what: str, expected: str, actual: str) -> Failure:
    return {"what": what, "expected": expected, "actual": actual}
