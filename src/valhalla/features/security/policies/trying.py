"""What policies would say of a request that nobody sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from valhalla.features.security.policies import rules
from valhalla.features.security.policies.book import Book, Candidates, Wanted, together
from valhalla.features.security.policies.contracts import Deed, Mode, Policy, Request, Source
from valhalla.features.security.policies.rules import Counts


def on_request(policies: Iterable[Policy], request: Request, counts: Counts, mode: Mode) -> Mapping[str, Any]:
    """Return the members of ``TestOut`` for a request."""

    def ask(wanted: Sequence[Wanted]) -> dict[str, Any]:
        return rules.request_values(request, wanted, counts, mode)

    return _tried(Book(policies).on_request(request.path, mode), request.method, ask, counts)


def on_caught(policies: Iterable[Policy], source: Source, mode: Mode) -> Mapping[str, Any]:
    """Return the members of ``TestOut`` for what a honeypot caught."""
    return _tried(Book(policies).on_honeypot(mode), "", lambda _: rules.source_values(source, mode), None)


def _tried(candidates: Candidates, method: str, ask: rules.Ask, counts: Counts | None) -> Mapping[str, Any]:
    def doing(policy: Policy) -> Deed:
        return Deed(policy, None, None, "")

    concerned = [one for one in candidates.policies if not one.policy.methods or method in one.policy.methods]
    decision, _ = rules.decide(candidates, method, ask, counts, doing)
    verdicts: list[Mapping[str, Any]] = []
    for one in concerned:
        _, said = rules.decide(together([one]), method, ask, counts, doing)
        policy = one.policy
        verdicts.append(
            {
                "name": policy.name,
                "action": policy.action,
                "matched": bool(said) and said[0].matched,
                "error": said[0].error if said else None,
                "shadow": policy.shadow,
            }
        )
    ending = decision.ending
    return {
        "outcome": None if ending is None else ending.action,
        "policy": None if ending is None else ending.name,
        "done": [deed.policy.name for deed in decision.deeds],
        "verdicts": verdicts,
    }
