"""How honeypots and decoys look over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final

import msgspec

from valhalla.features.security.honeypots.contracts import Decoy, Honeypot
from valhalla.features.security.honeypots.errors import BadDecoy, DecoyNotFound, HoneypotNotFound
from valhalla.features.security.honeypots.rules import NAME
from valhalla.features.security.honeypots.wire import DecoyModel, DecoyMore, HoneypotModel, HoneypotMore
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Record, Registry
from valhalla.kit.registry_routes import Face

HONEYPOTS: Final = "/system/security/honeypots"
DECOYS: Final = "/system/security/decoys"
READ: Final = "honeypots:read"
WRITE: Final = "honeypots:write"


def honeypot_face(registry: Registry[Honeypot]) -> Face[Honeypot]:
    """Return ``/system/security/honeypots``; they are registered and ended by routes of their own."""

    def make(_key: str, model: Any, before: Honeypot | None, _principal: Principal) -> Honeypot:
        assert before is not None
        return msgspec.structs.replace(before, type=model.type, location=model.location, metadata=model.metadata)

    def state(record: Record[Honeypot]) -> Mapping[str, Any]:
        return {"active": record.value.active, "client_id": record.value.client_id}

    return Face(
        registry=registry,
        prefix=HONEYPOTS,
        tag="honeypots",
        noun="honeypot",
        read=READ,
        write=WRITE,
        model=HoneypotModel,
        example={"location": "dmz-1"},
        key="name",
        key_form=NAME,
        key_example="dmz-ssh",
        make=make,
        more=HoneypotMore,
        state=state,
        filters=("type",),
        search=("location",),
        missing=HoneypotNotFound,
        reserved=frozenset({"events", "activity"}),
    )


def decoy_face(registry: Registry[Decoy]) -> Face[Decoy]:
    """Return ``/system/security/decoys``."""

    def make(key: str, model: Any, before: Decoy | None, _principal: Principal) -> Decoy:
        members: dict[str, Any] = model.model_dump()
        if before is not None and before.kind != model.kind:
            raise BadDecoy("a decoy stays what it is; make another one")
        if before is not None:
            members |= {"digest": before.digest, "prefix": before.prefix, "word": model.word or before.word}
        elif model.kind == "canary" and model.word is None:
            members["word"] = f"cn{token_hex(12)}"
        return Decoy(name=key, **members)

    return Face(
        registry=registry,
        prefix=DECOYS,
        tag="honeypots",
        noun="decoy",
        read=READ,
        write=WRITE,
        model=DecoyModel,
        example={"path": "/old-admin/*", "face": "login"},
        key="name",
        key_form=NAME,
        key_example="old-admin",
        make=make,
        more=DecoyMore,
        state=lambda record: {"prefix": record.value.prefix},
        filters=("kind", "enabled"),
        search=("path", "description"),
        missing=DecoyNotFound,
        reserved=frozenset({"keys"}),
    )
