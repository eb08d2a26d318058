"""Projections for operators: the position of each, and replay of one from the log.

Promises: a replay opens no token and shows no secret; reads and writes continue meanwhile; every node reports on it,
whichever node runs it. Handlers are plain functions because the store blocks; they run in threads.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from api.front.exchange import AUTHENTICATED
from api.front.operation import Operation
from api.front.paths import PROJECTIONS
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.openapi import ADMIN, BODY, answer, problems
from api.rest.preconditions import CommandMetaOf
from api.rest.projection_shapes import (
    COMPLETED_EXAMPLE,
    PROJECTIONS_EXAMPLE,
    RUNNING_EXAMPLE,
    ProjectionList,
    ProjectionName,
    ProjectionView,
    ReplayBody,
    ReplayId,
    ReplayView,
)
from domain.errors import InvalidField, InvalidRequestError

router = APIRouter(route_class=Operation, prefix=PROJECTIONS, tags=["projections"], dependencies=[AUTHENTICATED])

_LOCATION: dict[str, Any] = {
    "Location": {"description": "Where to ask about the replay.", "schema": {"type": "string"}}
}
_AS_IT_IS = ReplayBody()


@router.get(
    "",
    operation_id="listProjections",
    summary="List the projections and how far each is behind the log",
    responses={200: answer(PROJECTIONS_EXAMPLE), **problems(*ADMIN)},
    dependencies=[only_query()],
)
def list_projections(services: ServicesOf) -> ProjectionList:
    """List every projection. One that is stopped met an event that this version does not know; nothing was skipped."""
    return ProjectionList(projections=[ProjectionView.of(status) for status in services.projections.list()])


@router.post(
    "/{projection}/replays",
    operation_id="startReplay",
    summary="Replay a projection from the log",
    status_code=202,
    responses={
        202: answer(RUNNING_EXAMPLE, _LOCATION, "Begun."),
        **problems(*ADMIN, *BODY, "malformed-header", "unknown-projection", "replay-conflict"),
    },
    dependencies=[only_query()],
)
def start_replay(
    *,
    projection: ProjectionName,
    meta: CommandMetaOf,
    services: ServicesOf,
    request: Request,
    response: Response,
    body: ReplayBody = _AS_IT_IS,
) -> ReplayView:
    """Build a copy next to the projection, compare the two, and put the copy in its place when they are equal."""
    if body.compare_only and body.swap_when_different:
        raise InvalidRequestError([InvalidField("swap_when_different", "cannot be true together with compare_only")])
    status = services.projections.start(projection, body.swap, meta)
    response.headers["Location"] = f"{request.url.path}/{status.replay_id}"
    return ReplayView.of(status)


@router.get(
    "/{projection}/replays/{replay_id}",
    operation_id="getReplay",
    summary="Show a replay",
    responses={200: answer(COMPLETED_EXAMPLE), **problems(*ADMIN, "unknown-projection", "replay-not-found")},
    dependencies=[only_query()],
)
def get_replay(projection: ProjectionName, replay_id: ReplayId, services: ServicesOf) -> ReplayView:
    """Show how far a replay is, and at its end what it found."""
    return ReplayView.of(services.projections.replay(projection, replay_id))
