"""The shapes of requests and answers about projections and their replay, with the examples that document them."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.front.paths import UUID_PATTERN
from api.rest.examples import TENANT
from api.rest.schemas import Moment
from domain.operations.replay import Difference, ProjectionStatus, ReplayResult, ReplayState, ReplayStatus, Swap

REPLAY = "5c1b8a4e-0d6f-4b4b-9a63-7d1f5f0c2a11"

ProjectionName = Annotated[str, Path(description="Name of the projection.", examples=["audit_trail"])]
ReplayId = Annotated[
    Annotated[str, StringConstraints(pattern=UUID_PATTERN)],
    Path(description="The replay, as its start named it.", examples=[REPLAY]),
]


class ReplayBody(BaseModel):
    """How to replay. By default a copy that is equal takes the projection's place, and one that differs does not."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"compare_only": True}],
            "not": {
                "required": ["compare_only", "swap_when_different"],
                "properties": {"compare_only": {"const": True}, "swap_when_different": {"const": True}},
            },
        },
    )

    compare_only: Annotated[bool, Field(description="Throw the copy away after the comparison.")] = False
    swap_when_different: Annotated[
        bool, Field(description="Put the copy in the projection's place also when they differ.")
    ] = False

    @property
    def swap(self) -> Swap:
        """When the copy takes the place of the projection."""
        if self.compare_only:
            return Swap.NEVER
        return Swap.ALWAYS if self.swap_when_different else Swap.IF_EQUAL


class ProjectionView(BaseModel):
    """A projection and how far it is behind the log."""

    name: str
    position: int = Field(description="The last position of the log that it shows.")
    head: int = Field(description="The last position of the log.")
    lag: int
    rows: int = Field(description="Estimated by the database where there are millions.")
    state: Literal["live", "stopped"]
    reason: str | None = Field(description="Why it stands still: code, position and topic.")

    @classmethod
    def of(cls, status: ProjectionStatus) -> "ProjectionView":
        """Return what is shown of a projection."""
        return cls(
            name=status.name,
            position=status.position,
            head=status.head,
            lag=status.lag,
            rows=status.rows,
            state="stopped" if status.stopped else "live",
            reason=status.stopped,
        )


class ProjectionList(BaseModel):
    """Every projection that is computed from the log."""

    projections: list[ProjectionView]


class DifferenceView(BaseModel):
    """A row in which projection and copy differ: missing in the projection, unexpected in it, or changed."""

    what: Literal["missing", "unexpected", "changed"]
    tenant_id: str | None
    provider: str | None
    position: int | None = Field(description="The first position of the log that the row shows, where it shows any.")

    @classmethod
    def of(cls, difference: Difference) -> "DifferenceView":
        """Return what is shown of a difference."""
        return cls.model_validate(asdict(difference))


class ReplayResultView(BaseModel):
    """The result of a replay."""

    position: int = Field(description="The copy shows the log up to here.")
    events: int
    rows: int
    difference_count: int
    differences: list[DifferenceView] = Field(description="The first of them.")
    swapped: bool
    seconds: float

    @classmethod
    def of(cls, result: ReplayResult) -> "ReplayResultView":
        """Return what is shown of a result."""
        return cls(
            position=result.position,
            events=result.events,
            rows=result.rows,
            difference_count=result.difference_count,
            differences=[DifferenceView.of(one) for one in result.differences],
            swapped=result.swapped,
            seconds=result.seconds,
        )


class ReplayView(BaseModel):
    """One replay. `interrupted`: the process that ran it is gone; the live projection is unchanged."""

    replay_id: str
    projection: str
    actor: str
    swap: Swap
    state: ReplayState
    done: int
    total: int
    result: ReplayResultView | None
    failure: str | None
    started_at: Moment
    updated_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, status: ReplayStatus) -> "ReplayView":
        """Return what is shown of a replay."""
        return cls(
            replay_id=status.replay_id,
            projection=status.projection,
            actor=status.actor,
            swap=status.swap,
            state=status.state,
            done=status.done,
            total=status.total,
            result=ReplayResultView.of(status.result) if status.result else None,
            failure=status.failure,
            started_at=status.started_at,
            updated_at=status.updated_at,
            finished_at=status.finished_at,
        )


PROJECTIONS_EXAMPLE = {
    "projections": [
        {
            "name": "current_credentials",
            "position": 42,
            "head": 42,
            "lag": 0,
            "rows": 12,
            "state": "live",
            "reason": None,
        },
        {
            "name": "audit_trail",
            "position": 40,
            "head": 42,
            "lag": 2,
            "rows": 40,
            "state": "stopped",
            "reason": "event-topic-unknown at position 41, topic CredentialRenamed",
        },
    ]
}
RUNNING_EXAMPLE = {
    "replay_id": REPLAY,
    "projection": "audit_trail",
    "actor": "olga",
    "swap": "if-equal",
    "state": "running",
    "done": 20_000,
    "total": 42_000,
    "result": None,
    "failure": None,
    "started_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-01-31T12:00:01Z",
    "finished_at": None,
}
COMPLETED_EXAMPLE = {
    **RUNNING_EXAMPLE,
    "state": "completed",
    "done": 42_000,
    "result": {
        "position": 42_000,
        "events": 42_000,
        "rows": 42_000,
        "difference_count": 1,
        "differences": [{"what": "changed", "tenant_id": TENANT, "provider": "openai"}],
        "swapped": False,
        "seconds": 1.2,
    },
    "updated_at": "2026-01-31T12:00:02Z",
    "finished_at": "2026-01-31T12:00:02Z",
}
