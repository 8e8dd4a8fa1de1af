"""What an issuer's word makes of a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.clients.people.errors import NoAccess
from valhalla.features.operations.clients.people.rules import Terms, person_of, principal_of, role_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Terms("https://issuer.example", {"platform": "operator", "guests": "viewer"}, domains=("example.com",))
ALICE: dict[str, Any] = {"sub": "1", "email": "alice@example.com", "email_verified": True, "groups": ["platform"]}
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.sampled_from(["*", "platform"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def test_the_highest_role_of_the_groups_counts() -> None:
    person = person_of({**ALICE, "groups": ["guests", "platform", "others"]}, TERMS, NOW)
    assert (person.groups, role_of(person, TERMS)) == (("guests", "platform"), "operator")
    assert role_of(person, Terms("https://another.example", TERMS.roles)) is None
    # what the settings give no more is gone, whatever was said at the sign-in
    assert role_of(person, Terms(TERMS.issuer, {"guests": "viewer"})) == "viewer"
    assert principal_of(person, Terms(TERMS.issuer, {})) is None


def test_the_star_is_everybody_and_no_group_of_that_name() -> None:
    everybody = Terms(TERMS.issuer, {"*": "viewer"})
    assert role_of(person_of({**ALICE, "groups": None}, everybody, NOW), everybody) == "viewer"
    assert person_of({**ALICE, "groups": ["*"]}, TERMS, NOW).groups == ()


def test_a_quorum_comes_beside_a_role_and_never_alone() -> None:
    terms = Terms(TERMS.issuer, TERMS.roles, quorums={"accounting": "finance"})
    person = person_of({**ALICE, "groups": ["platform", "accounting"]}, terms, NOW)
    principal = principal_of(person, terms)
    assert principal is not None
    assert {"role:finance", "holds:approve"} <= principal.scopes
    assert principal_of(person_of({**ALICE, "groups": ["accounting"]}, terms, NOW), terms) is None


def test_one_group_as_text_is_one_group() -> None:
    assert person_of({**ALICE, "groups": "platform"}, TERMS, NOW).groups == ("platform",)
    assert person_of({**ALICE, "groups": "platforms"}, TERMS, NOW).groups == ()


def test_two_people_of_one_name_own_different_things() -> None:
    owners = {person_of({**ALICE, "sub": sub}, TERMS, NOW).owner for sub in ("1", "2")}
    assert len(owners) == 2
    assert all(owner.startswith("alice-") for owner in owners)
    mapped = Terms(TERMS.issuer, TERMS.roles, owner_claim="team")
    assert person_of({**ALICE, "team": "team-a"}, mapped, NOW).owner == "team-a"
    with pytest.raises(NoAccess):
        person_of({**ALICE, "team": "Team A"}, mapped, NOW)


@given(st.dictionaries(st.sampled_from(["sub", "email", "email_verified", "groups"]), _ANY))
def test_nobody_is_let_in_by_accident(claims: dict[str, Any]) -> None:
    try:
        person = person_of(claims, TERMS, NOW)
    except NoAccess:
        return
    assert claims["email_verified"] is True
    assert person.name.endswith("@example.com")
    given = claims.get("groups")
    held = given if isinstance(given, list) else [given]
    assert (role_of(person, TERMS) is not None) == any(name in held for name in TERMS.roles if isinstance(name, str))
