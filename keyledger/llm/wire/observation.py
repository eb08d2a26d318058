"""Records what happened to one call on the wire.

Promises: numbers and reason codes only. Of a provider's response only the status is kept, Retry-After as seconds, and
what it says of tokens and its name of the model.
Standard: RFC 9110, section 10.2.3 (Retry-After).
"""

import math
import re
import socket
import ssl
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from domain.calls.tokens import ToldUsage
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.wire.dialling import ForbiddenAddressError
from keyledger.llm.wire.provider_answer import ProviderAnswer

RETRY_AFTER_MAX = 86_400
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
"""With a fraction, as some providers send it."""

# The first match decides.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "name-not-resolved"),
    (ssl.SSLCertVerificationError, "certificate-not-trusted"),
    (ssl.SSLError, "tls-failed"),
    (OSError, "not-reachable"),
)


@dataclass(slots=True)
class Observation:
    """Observations of a call. sent: a request was sent, or soon would be. retry_after: in seconds. failure: a code.

    rejected: the provider said that the key is not valid. code: of the provider's error, out of a closed list.
    marked: a stream had its mark for the end.
    framing: bytes that have framed a body in chunks so far. told: what the provider said of tokens. switched: the
    connection left HTTP, as was asked for.
    """

    sent: bool = False
    status: int | None = None
    retry_after: int | None = None
    failure: str | None = None
    timed_out: bool = False
    rejected: bool = False
    code: str | None = None
    marked: bool = False
    framing: int = 0
    told: ToldUsage = field(default_factory=ToldUsage)
    switched: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the provider responded with success, as far as observed."""
        succeeded = self.switched or (self.status is not None and 200 <= self.status < 300)
        return succeeded and self.failure is None

    @property
    def may_have_generated(self) -> bool:
        """Whether the provider may bill the call: it answered with success, or the caller left before it answered."""
        if self.status is not None:
            return self.switched or 200 <= self.status < 300
        return self.sent and self.failure is None and not self.timed_out


def note_answer(
    observation: Observation, answer: ProviderAnswer, rejects_with: Container[int], *, streaming: bool
) -> None:
    """Record the head of a response. streaming: it should consist of server-sent events."""
    observation.status = answer.status
    observation.rejected = answer.status in rejects_with
    observation.retry_after = _retry_after(answer)
    if streaming and observation.accepted and answer.content_type != "text/event-stream":
        observation.failure = "answer-not-a-stream"


def note_failure(observation: Observation, error: Exception) -> None:
    """Record why there is no response, or only part of one."""
    if isinstance(error, ForbiddenAddressError | InvalidAnswerError):
        observation.failure = error.reason
    elif isinstance(error, TimeoutError):
        observation.timed_out = True
    else:
        observation.failure = next((reason for kind, reason in _REASONS if isinstance(error, kind)), "transport-fault")


def _retry_after(answer: ProviderAnswer) -> int | None:
    """Return when a provider wants to be asked again, in seconds from now. OpenAI and Azure state milliseconds, too."""
    if (seconds := _seconds(answer.head.value(b"retry-after"))) is not None:
        return seconds
    stated = answer.head.value(b"retry-after-ms")
    return min(math.ceil(float(stated) / 1000), RETRY_AFTER_MAX) if _NUMBER.fullmatch(stated) else None


def _seconds(retry_after: str) -> int | None:
    """Return Retry-After, a number of seconds or an HTTP date, as seconds from now. None if it is malformed."""
    if _NUMBER.fullmatch(retry_after):
        return min(math.ceil(float(retry_after)), RETRY_AFTER_MAX)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0, round((moment - datetime.now(UTC)).total_seconds())), RETRY_AFTER_MAX)
