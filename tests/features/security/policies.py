"""Policies, requests that they are asked about, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from valhalla.features.security.policies import rules
from valhalla.features.security.policies.book import Book
from valhalla.features.security.policies.contracts import Deed, Mode, Policy, Request
from valhalla.kernel.principal import Principal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


ADMIN = Principal("k1", "root", frozenset({"admin"}))


def policy(name: str = "p", when: str = "true", action: Any = "challenge", **more: Any) -> Policy:
    return Policy(name, when, action, **more)


def asked(path: str = "/", method: str = "GET", principal: Principal | None = None, **headers: str) -> Request:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request(method, path, path, b"a=1", raw, "203.0.113.7", principal)


def said(
    book: Book, request: Request, counts: Mapping[str, int] | None = None, mode: Mode = "normal"
) -> tuple[str | None, list[str], dict[str, str | None]]:
    """Who ended it, who does something, and who matched (None) or failed."""
    decision, verdicts = rules.decide(
        book.on_request(request.path, mode),
        request.method,
        lambda members: rules.request_values(request, members, counts, mode),
        counts,
        lambda one: Deed(one, request.address, request.principal, ""),
    )
    ending = None if decision.ending is None else decision.ending.name
    return ending, [deed.policy.name for deed in decision.deeds], {one.policy.name: one.error for one in verdicts}
