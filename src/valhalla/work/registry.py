"""Which functions may be run as jobs: name → function, with the types of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec

from valhalla.kit.spans import Roots
from valhalla.work.context import JobContext
from valhalla.work.contracts import Queue, Retry
from valhalla.work.errors import BadArguments, UnknownJob

F = TypeVar("F", bound=Callable[..., Any])


class Kind(Protocol):
    """What a submitter must know of a job."""

    @property
    def queue(self) -> str:
        """The queue that it waits in."""
        ...

    @property
    def lane(self) -> str:
        """Where it waits in the engine."""
        ...

    @property
    def timeout(self) -> float | None:
        """The seconds that an attempt may take."""
        ...

    def plain(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``args`` checked and in their JSON form.

        Raises:
            BadArguments: they do not fit, or have no JSON form.
        """
        ...


class Known(Protocol):
    """Which jobs can be submitted: those of this program (``Jobs``), or those that some worker runs (``Kinds``)."""

    def known(self, name: str) -> Kind:
        """Return what ``name`` is registered as.

        Raises:
            UnknownJob: it is not.
        """
        ...

    @property
    def names(self) -> list[str]:
        """Every registered name, sorted."""
        ...


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered function. ``context`` is the name of the parameter that gets the ``JobContext``, if one does."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    queue: str
    lane: str
    retry: Retry
    timeout: float | None
    parameters: type[msgspec.Struct]
    context: str | None

    def arguments(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``args`` as values of the declared types, with defaults filled in.

        Raises:
            BadArguments: one is missing, unknown or of another type.
        """
        try:
            values = msgspec.convert(args, self.parameters)
        except msgspec.ValidationError as error:
            raise BadArguments(f"{self.name}: {error}", job=self.name) from error
        return {field: getattr(values, field) for field in self.parameters.__struct_fields__}

    def schema(self) -> dict[str, Any]:
        """Describe the parameters as JSON Schema does, as far as they have such a form."""
        try:
            _, parts = msgspec.json.schema_components([self.parameters])
        except TypeError:
            return {}
        return {key: value for key, value in parts["Arguments"].items() if key in ("properties", "required")}

    def plain(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``args`` checked and in their JSON form.

        Raises:
            BadArguments: they do not fit, or have no JSON form.
        """
        try:
            plain = msgspec.to_builtins(dict(args))
        except TypeError as error:
            raise BadArguments(f"{self.name}: {error}", job=self.name) from error
        self.arguments(plain)
        return plain


class Jobs:
    """The functions that one program knows as jobs, and the queues that they wait in."""

    def __init__(self, queues: Iterable[Queue] = ()) -> None:
        """``queues`` that have limits; any other queue that a job names has none."""
        self.queues: dict[str, Queue] = {queue.name: queue for queue in (Queue(), *queues)}
        for queue in self.queues.values():
            if queue.rate is not None and not 1 <= queue.rate.count <= 1000:
                raise ValueError(f"the rate of queue {queue.name!r} must count 1 to 1000 jobs")
            _check(queue.name)
        self._definitions: dict[str, Definition] = {}
        self.roots: Roots | None = None
        """Told of the span of every attempt, where spans are kept."""

    def job(
        self,
        name: str,
        *,
        queue: str = "default",
        retry: Retry | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function: a sync one runs in a thread, an async one on the event loop.

        Its parameters are the job's arguments: annotated with what JSON can carry, and called by name. One annotated
        ``JobContext`` gets the context. ``timeout`` in seconds bounds an attempt.

        Raises:
            ValueError: the name is taken, or a parameter has no annotation.
        """

        def register(function: F) -> F:
            if name in self._definitions:
                raise ValueError(f"the job name {name!r} is taken")
            _check(queue)
            parameters, context = _parameters(name, function)
            waits_in = self.queues.setdefault(queue, Queue(name=queue))
            self._definitions[name] = Definition(
                name=name,
                call=function,
                is_async=inspect.iscoroutinefunction(function),
                queue=queue,
                lane=waits_in.lane(name),
                retry=retry or Retry(),
                timeout=timeout,
                parameters=parameters,
                context=context,
            )
            return function

        return register

    def get(self, name: str) -> Definition | None:
        """Return what ``name`` is registered as, if it is."""
        return self._definitions.get(name)

    def known(self, name: str) -> Definition:
        """Return what ``name`` is registered as.

        Raises:
            UnknownJob: it is not.
        """
        if (definition := self._definitions.get(name)) is None:
            raise UnknownJob(f"no job is called {name!r}", known=sorted(self._definitions))
        return definition

    @property
    def used_queues(self) -> dict[str, Queue]:
        """The queues that a registered job waits in: a worker looks at no other."""
        return {name: self.queues[name] for name in sorted({one.queue for one in self._definitions.values()})}

    def lanes(self, queue: Queue) -> list[str]:
        """Return where a worker of this program looks for the queue's jobs."""
        return queue.lanes([one.name for one in self._definitions.values() if one.queue == queue.name])

    def __iter__(self) -> Iterator[Definition]:
        """Go through what is registered."""
        return iter(self._definitions.values())

    @property
    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._definitions)


def _check(queue: str) -> None:
    if ":" in queue:
        raise ValueError(f"the name of a queue holds no colon: {queue!r}")


def _parameters(name: str, function: Callable[..., Any]) -> tuple[type[msgspec.Struct], str | None]:
    hints = get_type_hints(function)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    context: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if hints.get(parameter.name) is JobContext:
            context = parameter.name
        elif parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(f"job {name!r}: the parameter {parameter.name!r} cannot be passed by name")
        elif parameter.name not in hints:
            raise ValueError(f"job {name!r}: the parameter {parameter.name!r} has no annotation")
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    # a misspelt argument must not be dropped without a word
    return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True), context
