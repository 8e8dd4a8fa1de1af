"""The process of ``valhalla router``: one hop for each source that is routed, as the registry has them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Registry
from valhalla.kit.waiting import first_of
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import accounts, patterns
from valhalla.sandbox.routing.foreign.contracts import REGISTRY, EventSource
from valhalla.sandbox.routing.foreign.hop import Hop
from valhalla.sandbox.routing.foreign.hops import Hops
from valhalla.sandbox.routing.link import Link
from valhalla.server.beside import Beside, run, until_signalled
from valhalla.server.options import ServeOptions

_LOOK: Final = 5.0


def route(options: ServeOptions, names: Sequence[str], *, creds: Mapping[str, Path]) -> int:
    """Route the named sources, all routed ones without a name, until SIGINT or SIGTERM; return the exit status.

    ``creds`` are files by the public key of accounts that the control plane does not make.

    Raises:
        Misconfigured: a named source is not routed, or the credentials of its account are missing.
        Unavailable: no control plane has ever run here, or its database or NATS cannot be reached.
    """
    return run(_main(Beside.of(options), names, creds))


async def _main(beside: Beside, names: Sequence[str], creds: Mapping[str, Path]) -> None:
    await Routers(beside, await beside.database("router"), names, creds).main()


class Routers:
    """The hops of this process; each source of the registry that is enabled and routed has one."""

    def __init__(self, beside: Beside, db: Database, names: Sequence[str], creds: Mapping[str, Path]) -> None:
        self._cell = beside.cell
        self._db = db
        self._url = beside.nats_url
        self._tls = beside.tls
        self._names = names
        self._creds = creds
        self._sizes = Sizes(max_age=beside.settings.events_kept)
        self._registry: Registry[EventSource] = Registry(REGISTRY, EventSource, Ledger(beside.cell))
        self._hops = Hops(self._make)

    async def main(self) -> None:
        """Run until a signal."""
        stop = until_signalled()
        try:
            # a hop tries again for ever; what is wrong from the start is said at the start
            link = await Link.open(self._url, natsauth.control_creds(self._cell), name="valhalla router", tls=self._tls)
            await link.close()
            wanted = await self._wanted()
            for name in self._names:
                if name not in {source.name for source in wanted}:
                    raise Misconfigured(
                        f"there is no event source '{name}' that is enabled and has way=router",
                        help=f"Look with 'valhalla source get {name}'.",
                        setting="source",
                    )
            await self._hops.bring(wanted)
            listed = ", ".join(sorted(source.name for source in wanted)) or "nothing yet: no source has way=router"
            print(f"Router moves {listed}", flush=True)  # noqa: T201 - says that it is there
            while not await first_of(stop, seconds=_LOOK):
                with contextlib.suppress(Unavailable):
                    await self._hops.bring(await self._wanted())
        finally:
            await self._hops.end()
            await self._db.close()
        print(f"Router ends; it has moved {self._hops.moved:,} events", flush=True)  # noqa: T201 - as above

    async def _wanted(self) -> list[EventSource]:
        _, records = await self._db.run(self._registry.load)
        routed = [record.value for record in records if record.value.enabled and record.value.way == "router"]
        return [source for source in routed if not self._names or source.name in self._names]

    def _make(self, source: EventSource) -> Hop:
        control = natsauth.control_creds(self._cell)
        return Hop(source, self._url, creds=self._creds_of(source), control=control, sizes=self._sizes, tls=self._tls)

    def _creds_of(self, source: EventSource) -> str:
        if not patterns.is_foreign(source.account):
            return accounts.credentials(self._cell, source, "account")
        path = self._creds.get(source.account)
        if path is None:
            raise Misconfigured(
                f"the account of the source '{source.name}' is not one that the control plane makes",
                help=f"Name a user's credentials: --creds {source.account}=FILE",
                setting="creds",
            )
        return path.read_text()
