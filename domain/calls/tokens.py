"""Token counts of a call, read from what its provider says of them.

Promises: counts are those that the provider sent, in one meaning for all forms: `input` and `output` are totals, and
the others are parts of them. Nothing is estimated; counts of a stream matter once the provider says that they are the
last ones. A provider may be a tenant's own server, so a count that is negative, too large, not a whole number or not a
number makes the whole usage unusable, and `unusable` names the member. However long a stream is, only the members that
have a meaning here are kept of it, each as it was said last.
Sources: OpenAI's API reference (chat completions, responses), Anthropic's Messages API 2023-06-01, Gemini's API v1beta.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

TOKENS_MAX = 10**9
"""The most tokens of one call that are believed: far above any model, and sums of them stay within 64 bits."""
_NAME_MAX = 200


class Tokens(NamedTuple):
    """Tokens of a call. cached: of the input, read from a cache. cache_creation: of the input, written to one.

    reasoning: of the output.
    """

    input: int
    output: int
    cached: int = 0
    cache_creation: int = 0
    reasoning: int = 0


class UsageForm(NamedTuple):
    """The names of the counts in an API, each a path. apart: parts of the input that `input` does not include."""

    input: str
    output: str
    cached: tuple[str, ...]
    cache_creation: tuple[str, ...]
    reasoning: tuple[str, ...]
    apart: bool = False


_CHAT = UsageForm(
    "prompt_tokens",
    "completion_tokens",
    ("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
    ("prompt_tokens_details.cache_creation_tokens", "prompt_tokens_details.cache_write_tokens"),
    ("completion_tokens_details.reasoning_tokens",),
)
_RESPONSES = UsageForm(
    "input_tokens",
    "output_tokens",
    ("input_tokens_details.cached_tokens",),
    ("input_tokens_details.cache_write_tokens",),
    ("output_tokens_details.reasoning_tokens",),
)
_MESSAGES = UsageForm(
    "input_tokens",
    "output_tokens",
    ("cache_read_input_tokens",),
    ("cache_creation_input_tokens",),
    ("output_tokens_details.thinking_tokens",),
    apart=True,
)
_GEMINI = UsageForm(
    "promptTokenCount", "candidatesTokenCount", ("cachedContentTokenCount",), (), ("thoughtsTokenCount",)
)

_PASSES, _TOTAL = "iterations", "total_tokens"
_KEPT = frozenset({_PASSES, _TOTAL}).union(
    path.partition(".")[0]
    for form in (_CHAT, _RESPONSES, _MESSAGES, _GEMINI)
    for path in (form.input, form.output, *form.cached, *form.cache_creation, *form.reasoning)
)


class ToldUsage:
    """The counts that a provider said for one call. unusable: the member that is not one. model: its name of it."""

    __slots__ = ("_is_final", "_said", "model", "unusable")

    def __init__(self) -> None:
        self.model = ""
        self.unusable = ""
        self._said: dict[str, Any] = {}
        self._is_final = False

    def note(self, document: Mapping[str, Any]) -> None:
        """Note what a whole answer, or one event of a stream, says."""
        holder = document
        for name in ("response", "message", "x_groq"):
            if isinstance(inner := document.get(name), Mapping) and isinstance(inner.get("usage"), Mapping):
                holder = inner
        said = holder.get("usage")
        if not isinstance(said, Mapping):
            said = document.get("usageMetadata")
        if isinstance(said, Mapping):
            self._said |= {name: said[name] for name in _KEPT.intersection(said) if said[name] is not None}
            self._is_final = self._is_final or _is_last(document)
        model = holder.get("model") or document.get("modelVersion")
        if isinstance(model, str) and len(model) <= _NAME_MAX:
            self.model = model

    def tokens(self) -> Tokens | None:
        """Return the counts; None if the provider sent none, only some of them, or one that is unusable."""
        said = self._said
        form = next((one for one in (_CHAT, _GEMINI, _form_of_input(said)) if one.input in said), None)
        if form is None or not self._is_final:
            return None
        passes = said.get(_PASSES)  # the head counts the last pass of several
        if form.apart and isinstance(passes, list) and passes and all(isinstance(one, Mapping) for one in passes):
            counted = [self._counted(one, form) for one in passes]
        else:
            counted = [self._counted(said, form)]
        tokens = Tokens(*(sum(column) for column in zip(*counted, strict=True)))
        if max(tokens) > TOKENS_MAX:  # each part may be within it
            self.unusable = self.unusable or (_PASSES if len(counted) > 1 else form.input)
        return None if self.unusable else tokens

    def _counted(self, said: Mapping[str, Any], form: UsageForm) -> Tokens:
        read, written = self._count(said, form.input), self._count(said, form.output)
        if form is _CHAT and form.output not in said and self._count(said, _TOTAL) > read:
            self.unusable = form.output
        cached, created, reasoning = (
            max((self._count(said, path) for path in paths), default=0)
            for paths in (form.cached, form.cache_creation, form.reasoning)
        )
        if form.apart:
            read += cached + created
        if form is _GEMINI or (reasoning and self._count(said, _TOTAL) == read + written + reasoning):
            written += reasoning  # counted apart (gemini, xai)
        return Tokens(max(read, cached + created), max(written, reasoning), cached, created, reasoning)

    def _count(self, said: Mapping[str, Any], path: str) -> int:
        """Return a count, 0 where it is missing. One that is not usable is noted."""
        value: Any = said
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return 0
        if isinstance(value, float) and 0 <= value <= TOKENS_MAX and value.is_integer():
            return int(value)
        if type(value) is int and 0 <= value <= TOKENS_MAX:
            return value
        self.unusable = path
        return 0


def _form_of_input(said: Mapping[str, Any]) -> UsageForm:
    """Return the form of a usage with `input_tokens`, which two APIs have."""
    cache = _MESSAGES.cached + _MESSAGES.cache_creation
    return _MESSAGES if any(name in said for name in cache) else _RESPONSES


def _is_last(document: Mapping[str, Any]) -> bool:
    """Whether the counts in an answer or event are the final ones. Some streams send them with every piece."""
    if document.get("type") == "message_start":
        return False
    for name, reason in (("choices", "finish_reason"), ("candidates", "finishReason")):
        pieces = document.get(name)
        if isinstance(pieces, list) and pieces:
            return any(isinstance(one, Mapping) and one.get(reason) is not None for one in pieces)
    return True
