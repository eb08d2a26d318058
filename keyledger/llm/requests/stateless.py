"""Checks that a request neither leaves state in the account of the global key nor reaches what is kept there.

All tenants without a credential share that account, so an answer, a file or a container of one must be out of reach of
the others.
Promises: a body that passed has only members that its route is known to have, with `store` and `background` off; no
id of anything that a provider keeps, at any depth; no tool that runs in the account; and no model outside the
catalogue, nested ones included. Names are compared exactly, so `Store` is an unknown member.
Refuses: what is unknown, since providers add ways to keep state. Contents that no provider interprets are not searched:
JSON schemas, the inputs and outputs of the caller's own tools, and metadata.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from domain.credentials.providers import Provider
from domain.errors import ErrorCode, InvalidField, InvalidRequestError
from domain.text.unknown_names import unknown_name
from keyledger.llm.requests.inference_routes import KEEPING_STATE, ROUTES, InferenceRoute
from keyledger.llm.requests.parameters import Request

REMEDY = (
    "The tenant has no credential of its own in use for this provider, so the platform's key would serve the call. Set "
    "the tenant's own, or ask an operator to open the route to the platform's key with NATIVE_GLOBAL_ROUTES."
)
_REMEDY = "The platform's key would serve the call. Leave this out, or set the tenant's own key for the model."
KEPT = "refers to what is kept in the platform's account"
_OFF = "must be false: the platform's key keeps nothing with the provider"
_OPAQUE = frozenset(
    (
        *(
            "metadata",
            "parameters",
            "input_schema",
            "output_schema",
            "schema",
            "json_schema",
            "logit_bias",
            "arguments",
        ),
        *("chat_template_kwargs", "mm_processor_kwargs", "structured_outputs", "guided_json", "documents"),
    )
)
_CHAT = "chat/completions"
_TOOL_USE = frozenset({"tool_use", "server_tool_use"})
_ADDRESS = re.compile(r"(?i:(?:.*_)?ur[il]s?)|.*[a-z]Ur[il]s?")
_FETCHED = re.compile(r"(?:https?|data):", re.IGNORECASE)
_ID = re.compile(
    r"(?i:.*[^a-z0-9]ids?|(?:file|container|vector_?store|connector|response|conversation)ids?|ids)|.*[a-z]I[dD]s?"
)
_IDS_OF_THE_REQUEST = frozenset(
    (
        *("tool_call_id", "tool_use_id", "call_id", "caller_id", "tool_id", "user_id", "request_id", "tab_id"),
        *("allowed_token_ids", "stop_token_ids", "download_id"),
    )
)
_ALWAYS_KEPT = frozenset(
    {"cached_content", "container", "conversation", "data_sources", "mcp_servers", "thread", "tool_resources"}
)
_MODELS = frozenset({"model", "models", "fallbacks"})
_NAME_KEPT_MAX = 64
"""Characters of the longest name whose reading is kept."""
_READ_HERE = _OPAQUE | _ALWAYS_KEPT | _MODELS | {"id", "input", "role", "tools", "type"}
_TOOLS = re.compile(
    r"function|custom|namespace|local_shell|apply_patch|browser_search|x_search|tool_search(?:_tool_[a-z0-9_]+)?"
    r"|web_(?:search|fetch)(?:_preview)?(?:_[0-9_]+)?|(?:bash|text_editor|memory|advisor)_[0-9]+"
    r"|(?:computer|browser)(?:_use_preview|_toolset)?(?:_[0-9]+)?"
)
"""Types of tools that the caller runs, or that the provider runs without keeping anything."""
_KEPT_TYPES = re.compile(
    r"(?i)item_reference|container.*|mcp.*|file_search.*|code_interpreter.*|(?:.*_)?code_execution.*|shell_call.*"
    r"|program.*"
)
_CONTENTS = (
    *("action", "arguments", "content", "custom", "encrypted_content", "function", "input", "operation"),
    *("output", "tools"),
)
"""Members that hold the content of an item; one with an id and none of them is a reference."""
_REPEATED_BY = {
    "reasoning": "encrypted_content",
    "compaction": "encrypted_content",
    "image_generation_call": "result",
    "message": "content",
    "function_call": "arguments",
    "function_call_output": "output",
    "custom_tool_call": "input",
    "custom_tool_call_output": "output",
}
"""Members without which the provider looks an item of these types up by its id."""
_LOOKED_UP = frozenset({"reasoning", "compaction", "image_generation_call"})
"""Types of items that are looked up by their ids also if that member is empty."""
_ABSENT, _NOTHING = (None,), (None, "")


def require_stateless(
    body: Mapping[str, Any], route: InferenceRoute, served: Callable[[str], bool], remedy: str = REMEDY
) -> None:
    """Raise InvalidRequestError with the members of a body that the global key does not pass on, each with its rule.

    body: strictly parsed. served: whether the catalogue has a model of this name at the provider.
    """
    errors = (error for name, value in body.items() if (error := _member_error(name, value, route, served)))
    refuse_members(errors, remedy)


def refuse_members(found: Iterable[InvalidField], remedy: str = REMEDY) -> None:
    """Raise InvalidRequestError for members that the global key does not pass on, if there are any."""
    if errors := tuple(found):
        broken = "; ".join(f"{error.field}: {error.rule}" for error in errors)
        raise InvalidRequestError(errors, ErrorCode.GLOBAL_KEY_NOT_ALLOWED, f"{broken}. {remedy}")


def unknown_member(name: str, route: InferenceRoute) -> InvalidField:
    """Return the error for a member that a route is not known to have."""
    return unknown_name(name, "member", route.members, "the platform's key passes on known members only")


def stateless_chat(request: Request, provider: Provider, served: Callable[[str], bool]) -> Request:
    """Return a checked chat request as the global key may send it. Raises as `require_stateless` does."""
    require_stateless({**request.parameters, **request.extras}, ROUTES[_CHAT], served, _REMEDY)
    if _CHAT in provider.keeps:
        return replace(request, extras={**request.extras, "store": False})
    return request


def stateless_embeddings(request: Request) -> Request:
    """Return a checked request for embeddings, if its members are known. Raises as `require_stateless` does."""
    route = ROUTES["embeddings"]
    refuse_members((unknown_member(name, route) for name in request.extras if name not in route.members), _REMEDY)
    return request


def _member_error(name: str, value: Any, route: InferenceRoute, served: Callable[[str], bool]) -> InvalidField | None:
    if name in route.switches:
        switched_off = value is False or (value is None and name != "store")
        return None if switched_off else InvalidField(name, _OFF)
    if name not in route.members:
        if name in KEEPING_STATE:
            return None if value is None else InvalidField(name, KEPT)
        return unknown_member(name, route)
    if name in _OPAQUE or name == "model":
        return None
    found = next(_found({name: value}, served), None)
    return None if found is None else InvalidField(name, found)


def _found(root: Mapping[str, Any], served: Callable[[str], bool]) -> Iterator[str]:
    """Yield what is wrong in a member and below it."""
    waiting: list[Any] = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(one for one in item if isinstance(one, dict | list))
            continue
        kind = item.get("type")
        if wrong := _object_error(item, kind):
            yield wrong
        for name, value in item.items():
            reading = _reading_of(name) if len(name) <= _NAME_KEPT_MAX else _read_as(name)
            if reading is not _Reading.PLAIN and (wrong := _nested_error(reading, value, served)):
                yield wrong
            if name == "audio" and isinstance(value, dict) and value.get("id") is not None:
                yield f"has the id of a sound that {KEPT}"
            if isinstance(value, dict | list) and name not in _OPAQUE and not (name == "input" and kind in _TOOL_USE):
                waiting.append(value)


def _object_error(item: Mapping[str, Any], kind: Any) -> str | None:
    if isinstance(kind, str) and _KEPT_TYPES.fullmatch(kind):
        return f"has an object of a type that {KEPT}"
    if "id" not in item or item["id"] is None or _is_complete(item, kind):
        return None
    return f"has an object with an id but without its content, which {KEPT}"


def _is_complete(item: Mapping[str, Any], kind: Any) -> bool:
    if not isinstance(kind, str):  # an item of the Responses API without a type may be a reference
        return isinstance(item.get("function"), dict) or (
            item.get("role") is not None and item.get("content") is not None
        )
    if kind in _REPEATED_BY:
        return item.get(_REPEATED_BY[kind]) not in (_NOTHING if kind in _LOOKED_UP else _ABSENT)
    return any(item.get(name) is not None for name in _CONTENTS)


class _Reading(Enum):
    """How a member is read because of its name."""

    PLAIN = auto()
    DISGUISED = auto()
    ID = auto()
    ADDRESS = auto()
    KEPT = auto()
    MODEL = auto()
    TOOLS = auto()


def _read_as(name: str) -> _Reading:
    if not name.isascii() or not name.isprintable() or (name not in _READ_HERE and name.lower() in _READ_HERE):
        return _Reading.DISGUISED
    if name not in _IDS_OF_THE_REQUEST and _ID.fullmatch(name):
        return _Reading.ID
    if _ADDRESS.fullmatch(name):
        return _Reading.ADDRESS
    if name in _ALWAYS_KEPT:
        return _Reading.KEPT
    if name in _MODELS:
        return _Reading.MODEL
    return _Reading.TOOLS if name == "tools" else _Reading.PLAIN


_reading_of = lru_cache(maxsize=4096)(_read_as)


def _nested_error(reading: _Reading, value: Any, served: Callable[[str], bool]) -> str | None:
    if reading is _Reading.DISGUISED:
        return "has a member whose name could be read as another"
    if value is None:
        return None
    if reading is _Reading.ID and isinstance(value, str | list):
        return f"has an id, in a member that ends in id or ids, that {KEPT}"
    if reading is _Reading.ADDRESS and not all(map(_is_fetched, value if isinstance(value, list) else [value])):
        return "has an address that is neither https, http nor data, so it may lead into the platform's storage"
    if reading is _Reading.KEPT:
        return f"has a member that {KEPT}"
    if reading is _Reading.MODEL and not (isinstance(value, str) and served(value)):
        return "names a model that is not in the catalogue for this provider"
    if reading is _Reading.TOOLS and isinstance(value, list):
        return next((wrong for tool in value if (wrong := _tool_error(tool))), None)
    return None


def _is_fetched(address: Any) -> bool:
    return not isinstance(address, str) or _FETCHED.match(address) is not None


def _tool_error(tool: Any) -> str | None:
    kind = tool.get("type", "custom") if isinstance(tool, dict) else None
    if isinstance(kind, str) and (_TOOLS.fullmatch(kind) or (kind == "image_generation" and tool.get("model"))):
        return None
    return "has a tool that runs in the platform's account, or that uses a model without naming it"
