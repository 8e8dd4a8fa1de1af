"""What differs between two lists of routes, and which limits may count one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.routes import rules
from valhalla.features.operations.routes.contracts import Route

_routes = st.lists(
    st.builds(
        lambda path, method, scope: Route(f"{method} {path}", path, (method,), "name", scope=scope),
        st.sampled_from(["/a", "/b", "/c/{id}", "/d"]),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from([None, "a:read", "b:read"]),
    ),
    unique_by=lambda route: route.id,
    max_size=6,
)


@given(_routes, _routes)
def test_a_difference_leads_from_one_list_to_the_other(before: list[Route], after: list[Route]) -> None:
    found = rules.difference(before, after)

    old, new = {one.id: one for one in before}, {one.id: one for one in after}
    assert (old.keys() - set(found.removed)) | set(found.added) == new.keys()
    for id_ in old.keys() & new.keys():
        assert (old[id_] != new[id_]) == (id_ in found.changed)
    assert bool(found) == (old != new)


def test_a_change_names_what_changed() -> None:
    before = Route("GET /a", "/a", ("GET",), "a", scope="a:read")
    after = Route("GET /a", "/a", ("GET",), "a", scope="b:read", tags=("new",))

    assert rules.difference([before], [after]).changed == {"GET /a": ("scope", "tags")}


def test_routes_by_the_flags_that_they_read() -> None:
    one = Route("GET /a", "/a", ("GET",), "a", flags=("beta", "new"))
    other = Route("GET /b", "/b", ("GET",), "b")

    assert rules.chosen([one, other], flag="new") == [one]
    assert rules.difference([other], [Route("GET /b", "/b", ("GET",), "b", flags=("new",))]).changed == {
        "GET /b": ("flags",)
    }


def test_limits_that_may_count_a_route() -> None:
    route = Route("GET,POST /api/x/{id}", "/api/x/{id}", ("GET", "POST"), "x")
    given = [
        LimitRule("all", "1/s"),
        LimitRule("below", "1/s", routes=("/api/*",)),
        LimitRule("post", "1/s", routes=("POST /api/x/{id}",)),
        LimitRule("put", "1/s", routes=("PUT /api/x/{id}",)),
        LimitRule("off", "1/s", enabled=False),
        LimitRule("else", "1/s", routes=("/system/*",)),
    ]

    assert rules.limits_of(route, given) == ("all", "below", "post")
    assert rules.limits_of(Route("GET /live", "/live", ("GET",), "live"), given) == ()
