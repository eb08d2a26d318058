"""Routes whose commands may need a second person: such a command is answered with the proposal that it became.

Promises: a 202 means that nothing was changed and the proposal is stored. Whether a command needs a second person is
decided where its event would be stored, never here, so no route can forget to ask. A token of an access key is in the
202 that proposes it, once; the log has its digest.
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.front.exchange import exchange_of
from api.front.json_response import ascii_json
from api.front.operation import Operation
from api.front.paths import PROPOSALS
from api.front.services import services_in_force
from api.front.stored_key_in_id import take_recorded_id
from api.rest.openapi import ETAG, answer
from api.rest.preconditions import entity_tag
from api.rest.proposal_shapes import PROPOSAL_EXAMPLE, ProposedCommand, proposed_view_of
from domain.access.token import digest_of
from domain.approvals.listed import KnownProposal
from domain.credentials.secret import Secret
from domain.errors import AccessError, ErrorCode

_LOCATION: Mapping[str, Any] = {
    "Location": {"description": "Where the proposal is.", "schema": {"type": "string"}},
}
HELD: dict[int | str, dict[str, Any]] = {
    202: {
        **answer({**PROPOSAL_EXAMPLE, "token": None}, {**ETAG, **_LOCATION}, "Proposed: it needs a second person."),
        "model": ProposedCommand,
    }
}
"""The documentation of the answer to a command that became a proposal."""


class Proposable(Operation):
    """An operation whose command may need a second person."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises as `Operation.handle` does."""
        services = services_in_force(scope)
        try:
            await super().handle(scope, receive, send)
            return
        except AccessError as held:
            if held.code != ErrorCode.APPROVAL_REQUIRED:
                raise
            error = held
        known = await services.carry_out_alone(lambda: services.proposals.propose(error))
        take_recorded_id(exchange_of(scope), error.decided[0].request_id)
        shown = proposed_view_of(known, _own(error.token, known), services.clock)
        body = ascii_json(shown.model_dump_json(ensure_ascii=True))
        headers = {
            "Location": f"{PROPOSALS}/{known.proposal.proposal_id}",
            "ETag": entity_tag(known.proposal.version),
        }
        await Response(body, 202, headers, "application/json")(scope, receive, send)


def _own(token: Secret | None, known: KnownProposal) -> Secret | None:
    """Return the token that the proposal is for; None for one of a repeated command, which is for no key."""
    digest = None if token is None else digest_of(token.reveal().encode())
    return token if digest == known.proposal.wanted.members.get("token_sha256") else None
