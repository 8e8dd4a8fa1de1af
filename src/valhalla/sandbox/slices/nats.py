"""The NATS slice: an account per sandbox, with limits; its one user is minted offline and expires with it.

An account of its own, because JetStream cannot be isolated inside a shared one: a stream can source another's
and a consumer can deliver to any subject (nats-io/nats-server#4225).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from nats import errors

from valhalla.kernel.clock import isoformat
from valhalla.kernel.ids import is_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth, natstls
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import KeyPair
from valhalla.sandbox.slices.contracts import Found, Names, Probe
from valhalla.sandbox.slices.nats_accounts import StandingAccounts
from valhalla.sandbox.slices.nats_admin import (
    AccountRefused,
    NatsAdmin,
    echo,
    explain,
    is_crowded,
)
from valhalla.sandbox.slices.nats_rules import (
    FOREVER,
    NatsLimits,
    lane_imports,
    may_publish,
    may_subscribe,
    read_names,
    room_for,
)

_LOOKUPS: Final = 100
_EXPECTED: Final = 1000
_KEPT_KEYS: Final = 2048


class NatsSlice:
    """One account per sandbox, on a server or cluster in operator mode with a full resolver."""

    name = "nats"

    def __init__(
        self,
        url: str,
        cell: CellKey,
        *,
        operator: KeyPair | None = None,
        system_creds: str | None = None,
        jwt_dir: Path | None = None,
        limits: NatsLimits | None = None,
        public_url: str | None = None,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is connected yet.

        Without ``operator`` and ``system_creds`` they are the cell's own, as the embedded server trusts them.
        ``jwt_dir`` is the resolver's directory where it is on this machine: the file that the server leaves
        of a deleted account is removed there. ``timeout`` is in seconds, per request.
        """
        self._url, self._public_url = url, public_url or url
        self._cell, self._timeout, self._tls = cell, timeout, tls
        self._operator = operator or natsauth.operator_key(cell)
        self._control = natsauth.control_key(cell)
        creds = system_creds or natsauth.system_creds(cell)
        self._admin = NatsAdmin(url, self._operator, creds, timeout=timeout, tls=tls)
        self.accounts = StandingAccounts(self._admin, self._operator)
        self._jwt_dir = jwt_dir
        self._limits = limits or NatsLimits()
        self._mark = re.compile(rf"vh_{re.escape(cell.cell)}_([a-z0-9]{{16}})")
        self._seen: dict[str, str] = {}
        # a derivation costs 26 µs of arithmetic: the filler does it, so that the claim need not
        self._keys = lru_cache(maxsize=_KEPT_KEYS)(self._derive)

    def account(self, names: Names) -> KeyPair:
        """Return the key of the sandbox's account; it is derived, not stored.

        Raises:
            ValueError: the id has not the form that ``kernel.ids`` makes; its subjects could be wider.
        """
        return self._keys(names.id)[0]

    def _derive(self, sandbox_id: str) -> tuple[KeyPair, KeyPair]:
        """Return the keys of a sandbox's account and of its user."""
        if not is_id(sandbox_id):
            raise ValueError("not a sandbox id")
        account = KeyPair.derive(self._cell, "account", "sandbox", sandbox_id)
        return account, KeyPair.derive(self._cell, "user", "sandbox", sandbox_id)

    async def provision(self, names: Names, *, expires_at: datetime) -> None:
        """Push the account. Its user needs nothing on the server.

        Raises:
            Unavailable: the server cannot be reached, or refuses the account.
        """
        account, limits = self.account(names).public, self._limits.claims()
        imports = lane_imports(names, account, self._control)
        await self._admin.push_account(
            natsauth.account_jwt(self._operator, account, name=names.nats_account, limits=limits, imports=imports)
        )

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Do nothing: ``connection`` mints a user with the new expiry; the one held before keeps its own."""

    async def cut(self, names: Names) -> None:
        """Revoke every user and allow no connection; the server closes the live ones.

        Raises:
            Unavailable: the server cannot be reached, or refuses the account.
        """
        await self._cut(self.account(names).public, names.nats_account)

    async def admit(self, names: Names, *, expires_at: datetime) -> None:
        """Push the account as it was before the cut.

        Raises:
            Unavailable: the server cannot be reached, or refuses the account.
        """
        await self.provision(names, expires_at=expires_at)

    async def _cut(self, account: str, name: str) -> None:
        await self._admin.push_account(
            natsauth.account_jwt(
                self._operator,
                account,
                name=name,
                limits=self._limits.claims(connections=0),
                # for ever: an id is never used again, so no user minted for it may ever return
                revocations={"*": FOREVER},
            )
        )

    async def empty(self, names: Names) -> None:
        """Remove the account's streams; the account and its users stay.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self._admin.purge_account(self.account(names).public)

    async def drop(self, names: Names) -> None:
        """Remove the account and its streams, from the disk too.

        Raises:
            Unavailable: the server cannot be reached, or does not allow deletion; to be resumed.
        """
        await self._drop(self.account(names).public)

    async def _drop(self, account: str) -> None:
        # purge first: the streams of a deleted account would stay on the disk
        await self._admin.purge_account(account)
        await self._admin.delete_accounts([account])
        self._seen.pop(account, None)
        if self._jwt_dir is not None:
            left = self._jwt_dir / f"{account}.jwt.deleted"
            await asyncio.to_thread(left.unlink, missing_ok=True)

    async def probe(self, names: Names) -> Probe:
        """Connect as the sandbox, receive a message that it published to itself, and look for JetStream."""
        started = time.monotonic()
        creds = self._creds(names, datetime.now(UTC) + timedelta(minutes=1))
        subject = f"{names.subject_prefix}valhalla.probe"
        try:
            async with asyncio.timeout(self._timeout):
                await echo(self._url, creds, subject, inbox_prefix=names.inbox_prefix, tls=self._tls)
        except errors.NoRespondersError:
            return Probe(False, _since(started), "JetStream is off for the sandbox: the server had no room for it")
        except (errors.Error, OSError, TimeoutError) as error:
            if is_crowded(error):
                return Probe(True, _since(started), "all of the sandbox's connections are in use")
            return Probe(False, _since(started), f"cannot connect as the sandbox: {explain(error)}")
        return Probe(True, _since(started))

    async def ping(self) -> Probe:
        """Publish to oneself over the connection that makes accounts."""
        started = time.monotonic()
        try:
            return Probe(True, await self._admin.round_trip())
        except Unavailable as error:
            return Probe(False, _since(started), error.detail)

    async def found(self) -> Sequence[Found]:
        """List the cell's accounts; each that was not seen before costs one look-up.

        Raises:
            Unavailable: the server cannot be reached.
        """
        accounts = await self._admin.list_accounts()
        seen = {account: self._seen[account] for account in accounts if account in self._seen}
        unknown = [account for account in accounts if account not in seen]
        for start in range(0, len(unknown), _LOOKUPS):
            batch = unknown[start : start + _LOOKUPS]
            tokens = await asyncio.gather(*(self._admin.find_account(account) for account in batch))
            seen |= read_names(zip(batch, tokens, strict=True))
        self._seen = seen
        matches = ((account, self._mark.fullmatch(name)) for account, name in seen.items())
        return [Found(self.name, "account", account, match[1]) for account, match in matches if match]

    async def remove(self, orphan: Found) -> None:
        """Remove an account that ``found`` listed, and its streams.

        Raises:
            Unavailable: the server cannot be reached, or does not allow deletion.
        """
        # cut first: a live client could make a stream between purge and delete
        await self._cut(orphan.name, f"vh_{self._cell.cell}_{orphan.sandbox_id}")
        await self._drop(orphan.name)

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, Any]:
        """Return address and credentials; ``creds`` is the text of a ``.creds`` file, minted at each call.

        Clients must set ``inbox_prefix``, or the server refuses their requests and JetStream.
        """
        return {
            "url": self._public_url,
            "creds": self._creds(names, expires_at),
            "prefix": names.subject_prefix,
            "inbox_prefix": names.inbox_prefix,
            "jwt_expires_at": isoformat(expires_at.replace(microsecond=0)),
        }

    def _creds(self, names: Names, expires_at: datetime) -> str:
        account, user = self._keys(names.id)
        token = natsauth.user_jwt(
            account,
            user.public,
            name=names.id,
            publish=may_publish(names),
            subscribe=may_subscribe(names),
            expires_at=int(expires_at.timestamp()),
        )
        return natsauth.creds_file(token, user)

    async def close_connection(self, server: str, client: int) -> bool:
        """See ``NatsAdmin.close_connection``."""
        return await self._admin.close_connection(server, client)

    async def check_server(self) -> list[str]:
        """Make and remove an account, as every sandbox will, and return what lacks, in the operator's words.

        Raises:
            Unavailable: the server cannot be reached.
            Misconfigured: it does not trust the operator, has no JetStream, or does not allow deletion.
        """
        account = KeyPair.derive(self._cell, "account", "check").public
        try:
            await self._cut(account, f"vh_{self._cell.cell}_check")
            await self._drop(account)
        except AccountRefused as error:
            raise Misconfigured(
                error.detail,
                help="The server needs this operator, 'jetstream', and a full resolver with 'allow_delete'.",
                setting="nats_url",
            ) from error
        except Unavailable as error:
            if problem := natstls.refused(error.__cause__, self._url):
                raise problem from error
            raise
        room = await self._admin.jetstream_room()
        fitting = _EXPECTED if room is None else room_for(self._limits, *room)
        if fitting >= _EXPECTED:
            return []
        return [f"JetStream has room for {fitting} sandboxes at a time: raise max_memory_store and max_file_store"]

    async def push_control_account(self) -> None:
        """Make the control plane's own account on a server that does not know it from its configuration.

        Raises:
            Unavailable: the server cannot be reached, or refuses the account.
        """
        _, token = natsauth.control_account(self._cell, self._operator)
        await self._admin.push_account(token)

    async def close(self) -> None:
        """Close the system connection; takes a second at most."""
        await self._admin.close()


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
