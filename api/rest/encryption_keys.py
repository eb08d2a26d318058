"""Encryption keys for operators: the list, whether a key may be removed, and rotation to the primary key.

Promises: no answer holds a key, only key ids; every node reports on a rotation, whichever node runs it. Handlers are
plain functions because the store blocks; they run in threads.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.paths import ENCRYPTION_KEYS
from api.front.problems import HttpError
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.encryption_key_shapes import (
    EVENTS_EXAMPLE,
    KEYS_EXAMPLE,
    RETIRED_EXAMPLE,
    ROTATIONS_EXAMPLE,
    RUNNING_EXAMPLE,
    EncryptionKeyList,
    EncryptionKeyView,
    KeyId,
    RetiredKey,
    RotationId,
    RotationList,
    RotationView,
)
from api.rest.openapi import ADMIN, BODY, answer, problems
from api.rest.preconditions import CommandMetaOf
from api.rest.proposable import HELD, Proposable
from api.rest.rotation_events import rotation_events
from domain.errors import InvalidField, InvalidRequestError
from domain.operations.rotation import EncryptionKeys

router = APIRouter(
    route_class=Proposable, prefix=ENCRYPTION_KEYS, tags=["encryption keys"], dependencies=[AUTHENTICATED]
)

_LOCATION: dict[str, Any] = {
    "Location": {"description": "Where to ask about the rotation.", "schema": {"type": "string"}}
}
_EVENTS: dict[str, Any] = {
    "description": "`progress` events while it runs, then one `done`. Each `data` is the rotation as JSON.",
    "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENTS_EXAMPLE}},
}


def _keys_of(services: ServicesOf) -> EncryptionKeys:
    if services.encryption_keys is None:
        raise HttpError("feature_disabled", "This service has no encryption key: tenant credentials are off.")
    return services.encryption_keys


def _no_body(exchange: ExchangeOf) -> None:
    """Refuse members in the body: a caller would take an ignored option for applied."""
    if exchange.body:
        raise InvalidRequestError([InvalidField("the body", "must be empty: there are no options")])


KeysOf = Annotated[EncryptionKeys, Depends(_keys_of)]
_NO_BODY = Depends(_no_body)


@router.get(
    "",
    operation_id="listEncryptionKeys",
    summary="List the encryption keys and whether each may go",
    responses={200: answer(KEYS_EXAMPLE), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query()],
)
def list_encryption_keys(keys: KeysOf) -> EncryptionKeyList:
    """List every key with what still needs it. Removing a key that is not safe to remove loses credentials."""
    statuses = keys.keys()
    return EncryptionKeyList(keys=[EncryptionKeyView.of(status) for status in statuses])


@router.post(
    "/{key_id}/retire",
    operation_id="retireEncryptionKey",
    summary="Record that a key can be destroyed",
    responses={
        200: answer(RETIRED_EXAMPLE),
        **HELD,
        **problems(
            *ADMIN, *BODY, "malformed-header", "key-not-retirable", "idempotency-key-reused", "version-conflict"
        ),
    },
    dependencies=[only_query(), _NO_BODY],
)
def retire_encryption_key(key_id: KeyId, meta: CommandMetaOf, keys: KeysOf) -> RetiredKey:
    """Check that nothing needs the key, which takes time, and record its retirement."""
    event = keys.retire(key_id, meta)
    return RetiredKey(key_id=event.key_id, retired_at=event.timestamp, unrecoverable=event.unrecoverable)


@router.post(
    "/rotations",
    operation_id="startKeyRotation",
    summary="Begin a rotation to the primary key",
    status_code=202,
    responses={
        202: answer(RUNNING_EXAMPLE, _LOCATION, "Begun."),
        **problems(*ADMIN, *BODY, "malformed-header", "rotation-refused", "version-conflict"),
    },
    dependencies=[only_query(), _NO_BODY],
)
def start_key_rotation(meta: CommandMetaOf, keys: KeysOf, request: Request, response: Response) -> RotationView:
    """Seal every live credential under the primary key, in the background, while everything else continues.

    Starting another rotation continues one that ended early: the log shows what is left to do.
    """
    status = keys.start(meta)
    response.headers["Location"] = f"{request.url.path}/{status.rotation_id}"
    return RotationView.of(status)


@router.get(
    "/rotations",
    operation_id="listKeyRotations",
    summary="List the latest rotations",
    responses={200: answer(ROTATIONS_EXAMPLE), **problems(*ADMIN)},
    dependencies=[only_query()],
)
def list_key_rotations(keys: KeysOf) -> RotationList:
    """List the latest rotations of all nodes and of the command line, newest first."""
    return RotationList(rotations=[RotationView.of(status) for status in keys.rotations()])


@router.get(
    "/rotations/{rotation_id}",
    operation_id="getKeyRotation",
    summary="Show a rotation",
    responses={200: answer(RUNNING_EXAMPLE), **problems(*ADMIN, "rotation-not-found")},
    dependencies=[only_query()],
)
def get_key_rotation(rotation_id: RotationId, keys: KeysOf) -> RotationView:
    """Show where a rotation is and which credentials it could not open."""
    return RotationView.of(keys.rotation(rotation_id))


@router.get(
    "/rotations/{rotation_id}/events",
    operation_id="followKeyRotation",
    summary="Follow a rotation",
    response_class=Response,
    response_model=None,
    responses={200: _EVENTS, **problems(*ADMIN, "rotation-not-found")},
    dependencies=[only_query()],
)
async def follow_key_rotation(rotation_id: RotationId, keys: KeysOf) -> Response:
    """Follow a rotation as server-sent events until it ends."""
    look = partial(keys.rotation, rotation_id)
    return rotation_events(await run_in_threadpool(look), look)


@router.post(
    "/rotations/{rotation_id}/cancel",
    operation_id="cancelKeyRotation",
    summary="Ask a rotation to stop",
    status_code=202,
    responses={202: answer(RUNNING_EXAMPLE, description="Asked."), **problems(*ADMIN, *BODY, "rotation-not-found")},
    dependencies=[only_query(), _NO_BODY],
)
def cancel_key_rotation(rotation_id: RotationId, keys: KeysOf) -> RotationView:
    """Ask a rotation to stop after its batch; what it sealed stays. One that ended stays as it is."""
    return RotationView.of(keys.cancel(rotation_id))
