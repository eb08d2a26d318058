"""Calls of Anthropic's Messages API, for any model of the catalogue.

Bodies are that API's JSON objects, in and out, whichever provider serves the call.
"""

from dataclasses import dataclass, field
from typing import Protocol

from domain.calls.call_admission import CallAdmission
from domain.calls.models import Answer, AnswerStream, Json, Model
from domain.calls.native import Headers, NativeAnswer

PATH = "messages"
COUNT_PATH = "messages/count_tokens"


@dataclass(frozen=True, slots=True)
class MessageCall:
    """One request. headers: the caller's. admission: of a caller with an access key."""

    tenant_id: str
    model: Model
    params: Json = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    admission: CallAdmission | None = None


class MessagesApi(Protocol):
    """Calls models in Anthropic's form on behalf of a tenant."""

    async def create(self, call: MessageCall) -> Answer | AnswerStream | NativeAnswer:
        """Create a message: the provider's own answer where it has this API, else one that was translated.

        The chunks of a stream are events. Raises as `LanguageModels.complete` does, InvalidRequestError for what the
        model's provider has no counterpart for.
        """
        ...

    async def count_tokens(self, call: MessageCall) -> NativeAnswer:
        """Count the tokens of a request. Raises as `create`, InvalidRequestError where the provider cannot count."""
        ...
