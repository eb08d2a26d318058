"""The shapes of answers about encryption keys and their rotation, with the examples that document them."""

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, Field, StringConstraints

from api.front.paths import UUID_PATTERN
from api.rest.examples import TENANT
from api.rest.schemas import Moment
from domain.operations.rotation import KeyState, KeyStatus, RotationState, RotationStatus

ROTATION = "3f6f6c1e-52a9-4a0b-8b0c-2d9d6a7b1c55"

RotationId = Annotated[
    Annotated[str, StringConstraints(pattern=UUID_PATTERN)],
    Path(description="The rotation, as its start named it.", examples=[ROTATION]),
]

KeyId = Annotated[
    Annotated[str, StringConstraints(pattern="^k[0-9a-f]{10}$")],
    Path(description="The id of an encryption key.", examples=["kabcdef0123"]),
]


class EncryptionKeyView(BaseModel):
    """One encryption key. The key itself is nowhere in the service's answers."""

    key_id: str
    state: KeyState = Field(description="missing: known to the log or to a credential, and not configured.")
    introduced_at: Moment | None = Field(description="When a service first started with it.")
    retired_at: Moment | None
    live: int = Field(description="Credentials in use that are sealed under it.")
    superseded: int = Field(description="Secrets in history, replaced or deleted, that only it opens.")
    safe_to_remove: bool
    reason: str = Field(description="Why it may or may not be removed, and what to do next.")

    @classmethod
    def of(cls, status: KeyStatus) -> "EncryptionKeyView":
        """Return what is shown of a key."""
        return cls(
            key_id=status.key_id,
            state=status.state,
            introduced_at=status.introduced_at,
            retired_at=status.retired_at,
            live=status.live,
            superseded=status.superseded,
            safe_to_remove=status.safe_to_remove,
            reason=status.reason,
        )


class EncryptionKeyList(BaseModel):
    """Every encryption key that the log, the configuration or a credential knows; the primary first."""

    keys: list[EncryptionKeyView]


class UnopenedView(BaseModel):
    """A credential that a rotation could not open and left as it is."""

    tenant_id: str
    provider: str
    reason: str


class RotationView(BaseModel):
    """One rotation. `done` counts what was looked at; it may pass `total` when others write meanwhile."""

    rotation_id: str
    key_id: str = Field(description="The key that credentials are sealed under from now on.")
    actor: str
    state: RotationState = Field(description="interrupted: the process that ran it is gone; start another to continue.")
    total: int
    done: int
    reencrypted: int
    skipped: int
    failed: int
    unopened: list[UnopenedView] = Field(description="The first of those that failed.")
    started_at: Moment
    updated_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, status: RotationStatus) -> "RotationView":
        """Return what is shown of a rotation."""
        return cls(
            rotation_id=status.rotation_id,
            key_id=status.key_id,
            actor=status.actor,
            state=status.state,
            total=status.total,
            done=status.counts.done,
            reencrypted=status.counts.reencrypted,
            skipped=status.counts.skipped,
            failed=status.counts.failed,
            unopened=[
                UnopenedView(tenant_id=one.tenant_id, provider=one.provider, reason=one.reason)
                for one in status.unopened
            ],
            started_at=status.started_at,
            updated_at=status.updated_at,
            finished_at=status.finished_at,
        )


class RetiredKey(BaseModel):
    """A key that can be destroyed. `unrecoverable`: past secrets that no one can open without it."""

    key_id: str
    retired_at: Moment
    unrecoverable: int


class RotationList(BaseModel):
    """The latest rotations, newest first."""

    rotations: list[RotationView]


_NEW_KEY = {
    "key_id": "k0123456789",
    "state": "primary",
    "introduced_at": "2026-01-31T12:00:00Z",
    "retired_at": None,
    "live": 20,
    "superseded": 0,
    "safe_to_remove": False,
    "reason": "new credentials are sealed under it",
}
_OLD_KEY = {
    **_NEW_KEY,
    "key_id": "kabcdef0123",
    "state": "previous",
    "introduced_at": "2025-01-31T12:00:00Z",
    "live": 0,
    "superseded": 31,
    "safe_to_remove": True,
    "reason": "no live credential needs it; retire it with: keyledger keys retire kabcdef0123",
}
KEYS_EXAMPLE = {"keys": [_NEW_KEY, _OLD_KEY]}
RUNNING_EXAMPLE = {
    "rotation_id": ROTATION,
    "key_id": "k0123456789",
    "actor": "olga",
    "state": "running",
    "total": 20,
    "done": 10,
    "reencrypted": 8,
    "skipped": 1,
    "failed": 1,
    "unopened": [{"tenant_id": TENANT, "provider": "openai", "reason": "key-not-in-keyring"}],
    "started_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-01-31T12:00:01Z",
    "finished_at": None,
}
RETIRED_EXAMPLE = {"key_id": "kabcdef0123", "retired_at": "2026-01-31T12:00:00Z", "unrecoverable": 31}
ROTATIONS_EXAMPLE = {"rotations": [RUNNING_EXAMPLE]}
EVENTS_EXAMPLE = (
    f'id: 1769860801000000\nevent: progress\ndata: {{"rotation_id": "{ROTATION}", "state": "running", ...}}\n\n'
    f'id: 1769860802000000\nevent: done\ndata: {{"rotation_id": "{ROTATION}", "state": "completed", ...}}\n\n'
)
