"""What can be done on a page, by whom: declared actions, and those that follow from the methods of the API's routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from valhalla.server.console.api_index import Index, fill
from valhalla.server.console.calling import Caller
from valhalla.server.console.contracts import Action, Field, Page
from valhalla.server.console.showing import pick

_REVISION: Final = Field(name="to_revision", label="revision", input="number", required=True)
_REASON: Final = Field(name="reason", query=True, help="kept in history and ledger")
_SET: Final = Action(
    name="set",
    label="Change members",
    method="PATCH",
    path="{one}",
    fields=(Field(name="*", label="members (JSON)", input="json", required=True, help='such as {"enabled": false}'),),
)


class Abilities:
    """Knows the actions of every page."""

    def __init__(self, index: Index, pages: Iterable[Page]) -> None:
        """Look every page up in the API, so that a wrong description stops the boot.

        Raises:
            LookupError: a page names a route that there is not.
        """
        self.index = index
        self.pages: dict[str, Page] = {}
        self._of_one: dict[str, dict[str, Action]] = {}
        self._of_many: dict[str, dict[str, Action]] = {}
        self._of_each: dict[str, dict[str, Action]] = {}
        for page in pages:
            self.pages[page.slug] = page
            self._of_one[page.slug] = {each.name: each for each in (*page.actions, *self._plain(page))}
            self._of_many[page.slug] = {each.name: each for each in (*page.tools, *self._making(page))}
            self._of_each[page.slug] = {one.name: one for one in self._for_each(page)}
            self.scope(page)
            for above in page.above:
                index.scope("GET", above.path)
            for section in page.sections:
                index.scope("GET" if section.body is None else "POST", section.path.replace("{one}", page.one))
            for action in (*self._of_one[page.slug].values(), *self._of_many[page.slug].values()):
                index.scope(action.method, self.template(page, action))

    def scope(self, page: Page) -> str | None:
        """Return what the page needs."""
        return self.index.scope("GET", page.path)

    def template(self, page: Page, action: Action) -> str:
        """Return the declared path of an action."""
        return action.path.replace("{one}", page.one)

    def path(self, page: Page, action: Action, key: str) -> str:
        """Return the path of an action on one record."""
        return fill(self.template(page, action), key)

    def find(self, page: Page, name: str, *, one: bool) -> Action | None:
        """Return an action by its name."""
        return (self._of_one if one else self._of_many)[page.slug].get(name)

    def may(self, caller: Caller, page: Page, action: Action) -> bool:
        """Say whether the person holds the scope of an action's route."""
        return caller.allows(self.index.scope(action.method, self.template(page, action)))

    def tools(self, caller: Caller, page: Page) -> list[Action]:
        """Return what the person can do with the list."""
        return [each for each in self._of_many[page.slug].values() if self.may(caller, page, each)]

    def actions(self, caller: Caller, page: Page, record: Mapping[str, Any]) -> list[Action]:
        """Return what the person can do with a record as it is now."""
        return [
            each for each in self._of_one[page.slug].values() if fits(each, record) and self.may(caller, page, each)
        ]

    def find_each(self, page: Page, name: str) -> Action | None:
        """Return an action that can be done to all that match."""
        return self._of_each[page.slug].get(name)

    def each(self, caller: Caller, page: Page) -> list[Action]:
        """Return what the person can do to all that match."""
        return [one for one in self._of_each[page.slug].values() if self.may(caller, page, one)]

    def fields(self, page: Page, action: Action) -> list[Field]:
        """Return the inputs of an action's form, with a reason wherever the API keeps one."""
        template = self.template(page, action)
        fields = list(action.fields)
        if self.index.takes(action.method, template, "reason") and all(one.name != "reason" for one in fields):
            fields.append(_REASON)
        return fields

    def previews(self, page: Page, action: Action) -> bool:
        """Say whether the API can tell what an action would change."""
        return self.index.takes(action.method, self.template(page, action), "dry_run")

    def together(self, page: Page, action: Action) -> str | None:
        """Return the path at which the API does an action to many at once, all or none: registries delete so."""
        path = f"{page.path}/bulk"
        deletes = action.method == "DELETE" and self.template(page, action) == page.one and page.one
        registry = deletes and self.index.find("POST", f"{page.one}/rollback") and self.index.find("POST", path)
        # what the one route can be told, the other must understand
        plain = all(field.query and self.index.takes("POST", path, field.name) for field in self.fields(page, action))
        return path if registry and plain else None

    def history(self, page: Page) -> str | None:
        """Return the path of a record's history, if the API keeps one."""
        path = f"{page.one}/history"
        return path if page.one and self.index.find("GET", path) else None

    def changes(self, page: Page) -> str | None:
        """Return the path of the list's history."""
        path = f"{page.path}/history"
        return path if self.index.find("GET", path) else None

    def _plain(self, page: Page) -> list[Action]:
        """Return edit, roll back and delete, where the routes have them and nobody declared them otherwise."""
        taken = {(each.method, self.template(page, each)) for each in page.actions}
        found: list[Action] = []
        for name, label, method, path, more in (
            ("edit", "Edit", "PUT", "{one}", {"whole": True}),
            ("rollback", "Roll back", "POST", "{one}/rollback", {"fields": (_REVISION,)}),
            ("delete", "Delete", "DELETE", "{one}", {"tone": "danger"}),
        ):
            template = path.replace("{one}", page.one)
            if page.one and (method, template) not in taken and self.index.find(method, template):
                options: Any = {"name": name, "label": label, "method": method, "path": path, **more}
                found.append(Action(**options))
        return found

    def _for_each(self, page: Page) -> list[Action]:
        """Return what makes sense for many: nothing that is about one definition, or whose answer must be seen."""
        found = [
            one
            for one in self._of_one[page.slug].values()
            if one.each and one.method != "GET" and not (one.whole or one.shows or one.name == "rollback")
        ]
        if page.one and self.index.find("PATCH", page.one):
            found.insert(0, _SET)
        return found

    def _making(self, page: Page) -> list[Action]:
        taken = {(each.method, each.path) for each in page.tools}
        found: list[Action] = []
        if ("POST", page.path) not in taken and self.index.find("POST", page.path):
            found.append(Action(name="new", label=f"New {page.thing}", path=page.path, whole=True, tone="good"))
        everything = f"{page.path}/rollback"
        if self.index.find("POST", everything):
            warning = "Every record becomes as it was at that revision."
            found.append(
                Action(name="rollback", label="Roll back all", path=everything, fields=(_REVISION,), warning=warning)
            )
        return found


def fits(action: Action, record: Mapping[str, Any]) -> bool:
    """Say whether an action makes sense for a record as it is now."""
    return all(pick(record, name) in values for name, values in (action.when or {}).items())
