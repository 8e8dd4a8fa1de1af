"""Requested security actions on the wire."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from valhalla.features.security.actions.rules import MOST_BYTES, MOST_TEXT
from valhalla.kit.http import WireModel


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(**WireModel.model_config | {"json_schema_extra": {"examples": [members]}})


class RequestIn(WireModel):
    """An action to ask for. ``type`` is one of the catalogue, ``payload`` fits its JSON Schema."""

    model_config = _example(type="key.revoke", payload={"id": "k3v9x0q2m1n8b7c6"}, reason="it was in a screenshot")

    type: str = Field(min_length=1, max_length=100)
    payload: dict[str, Any] = Field(default={}, max_length=50)
    reason: str = Field(min_length=3, max_length=500, description="kept in the ledger and shown to who decides")


class DecideIn(WireModel):
    """A decision. With ``fingerprint`` it holds only for the payload that the person saw."""

    model_config = _example(reason="seen in the logs", fingerprint="9f2c")

    reason: str | None = Field(None, max_length=1000)
    fingerprint: str | None = Field(None, max_length=64, pattern=r"^[0-9a-fA-F]*$")


class WithdrawIn(WireModel):
    """Why a request is taken back."""

    model_config = _example(reason="asked for twice")

    reason: str | None = Field(None, max_length=1000)


class CommentIn(WireModel):
    """A comment."""

    model_config = _example(text="The same key was used from two countries.")

    text: str = Field(min_length=1, max_length=MOST_TEXT)


class EvidenceIn(WireModel):
    """A file that backs the request; it is kept as it came."""

    model_config = _example(name="access.log", content="MTkyLjAuMi4xIC0gLQ==", text="the first three requests")

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f\x7f]+$")
    media_type: str = Field(
        "application/octet-stream", max_length=100, pattern=r"^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$"
    )
    content: str = Field(min_length=1, max_length=MOST_BYTES * 4 // 3 + 4, description="Base64 (RFC 4648), 256 KiB")
    text: str = Field("", max_length=MOST_TEXT)

    @field_validator("content")
    @classmethod
    def _is_base64(cls, value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except binascii.Error:
            raise ValueError("this is no Base64") from None
        if size > MOST_BYTES:
            raise ValueError(f"evidence has at most {MOST_BYTES} bytes")
        return value


class DecisionOut(WireModel):
    """One person's decision about one stage."""

    stage: int
    by: str
    decision: str
    at: datetime
    reason: str | None


class DecisionList(WireModel):
    """What was decided about a request, in order."""

    items: list[DecisionOut]


class ActionOut(WireModel):
    """A guarded action that waited, or waits, for people; ``payload`` is redacted."""

    id: str
    type: str
    state: str
    requester: str
    reason: str | None
    approval: str | None = Field(description="who must approve, stage by stage")
    missing: str | None = Field(description="whose approval it waits for now")
    decisions: list[DecisionOut]
    payload: Any
    fingerprint: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    evidence: str | None = Field(description="what a person found out about an action whose end nobody knew")
    correlation_id: str | None


class ActionPage(WireModel):
    """One page of actions, oldest first."""

    items: list[ActionOut]
    next: str | None


class TypeOut(WireModel):
    """One type of action."""

    type: str
    summary: str
    effect: str
    scope: str = Field(description="what the requester needs, now and when it is executed")
    payload: dict[str, Any] = Field(description="the JSON Schema of the payload")


class TypeList(WireModel):
    """What can be asked for."""

    items: list[TypeOut]


class NoteOut(WireModel):
    """A comment, or a piece of evidence without its content."""

    id: int
    by: str
    at: datetime
    text: str
    name: str | None = None
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None


class NotePage(WireModel):
    """One page, oldest first; ``next`` is given as ``after``."""

    items: list[NoteOut]
    next: str | None
