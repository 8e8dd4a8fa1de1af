"""Dry runs as trees: what would be done, what people approve, and the single-use grants of the live run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from valhalla.guard.contracts import Effect
from valhalla.guard.egress.current import active
from valhalla.guard.errors import GuardProblem
from valhalla.guard.fingerprint import SIZE


@dataclass(slots=True)
class Node:
    """One action of a dry run. ``ran`` says that the callable was called, ``simulated`` that ``simulate=`` answered."""

    name: str
    fingerprint: bytes
    effect: Effect
    arguments: Mapping[str, Any]
    approval: str | None = None
    limits: tuple[str, ...] = ()
    ran: bool = False
    simulated: bool = False
    reason: str | None = None
    children: list[Node] = field(default_factory=list["Node"])

    def digest(self) -> bytes:
        """Return the hash of this branch: names, fingerprints and their order."""
        hashed = blake2b(self.name.encode() + b"\0" + self.fingerprint, digest_size=SIZE)
        for child in self.children:
            hashed.update(child.digest())
        return hashed.digest()

    def lines(self, depth: int = 0) -> list[str]:
        """Return the branch as text, one line per action."""
        did = "runs" if self.ran else "simulated" if self.simulated else "held"
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        needs = f"; needs {self.approval}" if self.approval else ""
        own = f"{'  ' * depth}{self.name}({arguments}) [{self.effect}, {did}{needs}]"
        return [own, *(line for child in self.children for line in child.lines(depth + 1))]

    def steps(self, depth: int = 0) -> list[dict[str, Any]]:
        """Return the branch as a flat list, for who approves it: each action with its depth."""
        own = {
            "depth": depth,
            "action": self.name,
            "arguments": dict(self.arguments),
            "effect": str(self.effect),
            "approval": self.approval,
            "reason": self.reason,
        }
        return [own, *(step for child in self.children for step in child.steps(depth + 1))]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a callable would do. ``digest`` is what people approve; ``guard.apply`` runs the same callable for real.

    ``error`` is what stopped the dry run: an effect without ``simulate=`` ends its branch.
    """

    id: str
    nodes: tuple[Node, ...]
    digest: bytes
    coverage: Mapping[str, str]
    run: Callable[[], Any] = field(repr=False)
    value: Any = None
    error: BaseException | None = None
    approval: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the dry run came to its end."""
        return self.error is None

    def __str__(self) -> str:
        lines = [line for node in self.nodes for line in node.lines()]
        if self.error is not None:
            stopped = self.error.detail if isinstance(self.error, GuardProblem) else type(self.error).__name__
            lines.append(f"stopped: {stopped}")
        return "\n".join(lines) or "nothing"


class Dry:
    """Notes the actions of a dry run on one level; a nested action notes its own below it."""

    __slots__ = ("coverage", "nodes")

    def __init__(self, nodes: list[Node] | None = None, coverage: Mapping[str, str] | None = None) -> None:
        """``coverage`` says what is watched; it is found out if it is not given."""
        self.nodes: list[Node] = [] if nodes is None else nodes
        self.coverage: Mapping[str, str] = coverage or covered()

    def enter(self, node: Node) -> Dry:
        """Note ``node`` and return where its children go."""
        self.nodes.append(node)
        return Dry(node.children, self.coverage)

    @property
    def digest(self) -> bytes:
        """The hash of the whole tree."""
        return tree_digest(self.nodes)


class Grants:
    """What is left of a plan on one level of the live run: each node may be done once, below the parent it had."""

    __slots__ = ("_left", "_lock", "approved")

    def __init__(self, nodes: tuple[Node, ...] | list[Node], *, approved: bool) -> None:
        """``approved`` says that people approved the whole tree, so that its nodes need no approval of their own."""
        self._left = list(nodes)
        self._lock = threading.Lock()
        self.approved = approved

    def spend(self, name: str, fingerprint: bytes) -> Grants | None:
        """Take the grant of this action and return those of its children; ``None`` if the plan does not have it."""
        with self._lock:
            for index, node in enumerate(self._left):
                if node.name == name and node.fingerprint == fingerprint:
                    del self._left[index]
                    return Grants(node.children, approved=self.approved)
        return None


Recorder = Dry | Grants


def covered() -> Mapping[str, str]:
    """Return what is watched here: by the guard itself, and by a seal if one is closed."""
    seal = active()
    layers = () if seal is None else seal.coverage.active
    return {
        "actions": "declared actions are held; other code runs",
        "egress": f"sealed by {', '.join(layers)}" if layers else "open: use guard.sealed() to close it",
    }


def tree_digest(nodes: list[Node]) -> bytes:
    """Return the hash of a tree."""
    hashed = blake2b(digest_size=SIZE)
    for node in nodes:
        hashed.update(node.digest())
    return hashed.digest()
