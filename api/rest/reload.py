"""Reloading the settings, for operators, without interruption.

Promises: the process that answers applies either all of the new settings, or none and says why; no answer holds the
value of a setting. Other workers of the node are notified at once and log the outcome.
"""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from api.front.exchange import AUTHENTICATED
from api.front.operation import Operation
from api.front.paths import RELOAD
from api.front.services import ServicesOf
from api.front.validation import no_body, only_query
from api.rest.openapi import ADMIN, BODY, answer, problems

router = APIRouter(route_class=Operation, tags=["operation"], dependencies=[AUTHENTICATED])

_EXAMPLE = {"changed": ["AI_MODELS_FILE", "OPENAI_API_KEY"], "needs_restart": ["DATABASE_URL"], "warnings": []}


class ReloadAnswer(BaseModel):
    """The outcome of reading the settings again, by their names."""

    changed: Annotated[list[str], Field(description="In force now.")]
    needs_restart: Annotated[list[str], Field(description="Changed too, but as before until a restart.")]
    warnings: Annotated[list[str], Field(description="Not wrong, worth knowing.")]


@router.post(
    RELOAD,
    operation_id="reload",
    summary="Read the settings again",
    responses={200: answer(_EXAMPLE), **problems(*ADMIN, *BODY, "reload-refused")},
    dependencies=[only_query(), Depends(no_body)],
)
async def reload(services: ServicesOf) -> ReloadAnswer:
    """Read `.env`, secret files and the catalogue again and apply them as a whole, to calls that begin afterwards."""
    report = await services.reload()
    return ReloadAnswer(
        changed=list(report.changed), needs_restart=list(report.needs_restart), warnings=list(report.warnings)
    )
