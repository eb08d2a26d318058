"""The OpenAPI document for people: operations in groups, each with its parameters, answers and problems.

Promises: pure, from the document alone, so the page cannot differ from /openapi.json; texts are plain, and the
renderer escapes them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

Node = Mapping[str, Any]

_PROBLEM = "application/problem+json"
_BOUNDS = (
    ("minLength", "characters: at least {}"),
    ("maxLength", "characters: at most {}"),
    ("minimum", "from {}"),
    ("maximum", "to {}"),
    ("default", "default {}"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter or a member of a body. place: path, query, header or body."""

    name: str
    place: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """An example of what is sent or answered."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The problems with one status."""

    status: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on one address, with one method or several documented alike."""

    id: str
    methods: Sequence[str]
    path: str
    summary: str
    text: str
    guarded: bool
    fields: Sequence[Field]
    answer: str
    curl: str
    samples: Sequence[Sample]
    failures: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations about one thing."""

    name: str
    operations: Sequence[Operation]


def groups_of(document: Node) -> Sequence[Group]:
    """Return the operations of an OpenAPI document by their first tag, in its order."""
    by_tag: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for methods, operation in _alike(item):
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(document, path, methods, operation))
    return [Group(name, operations) for name, operations in by_tag.items()]


def _alike(item: Node) -> Iterator[tuple[list[str], Node]]:
    """Yield the operations of a path; methods documented alike are merged into one."""
    told: dict[str, tuple[list[str], Node]] = {}
    for method, operation in item.items():
        methods, _ = told.setdefault(operation["summary"], ([], operation))
        methods.append(method.upper())
    yield from told.values()


def _operation(document: Node, path: str, methods: Sequence[str], operation: Node) -> Operation:
    parameters = operation.get("parameters", [])
    media, content = _first(operation.get("requestBody", {}).get("content", {}))
    schema = _resolved(document, content.get("schema", {}))
    example = _example(content, schema)
    succeeded = {status: one for status, one in operation["responses"].items() if status.startswith("2")}
    status, answer = _first(succeeded)
    return Operation(
        id=operation["operationId"],
        methods=methods,
        path=path,
        summary=operation["summary"],
        text=operation.get("description", ""),
        guarded="security" in operation,
        fields=[*map(_parameter, parameters), *_members(document, schema)],
        answer=f"{status}: {answer.get('description', '')}",
        curl=_curl(path, methods[0], parameters, media, example, guarded="security" in operation),
        samples=list(_samples(answer)),
        failures=list(_failures(operation["responses"])),
    )


def _parameter(parameter: Node) -> Field:
    schema = parameter["schema"]
    text = parameter.get("description", "")
    return Field(
        parameter["name"], parameter["in"], _kind(schema), parameter.get("required", False), _told(text, schema)
    )


def _members(document: Node, schema: Node) -> Iterator[Field]:
    for name, member in schema.get("properties", {}).items():
        shown = _resolved(document, member)
        yield Field(
            name, "body", _kind(shown), name in schema.get("required", ()), _told(shown.get("description", ""), shown)
        )


def _kind(schema: Node) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if alternatives := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(map(_kind, alternatives)))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _told(text: str, schema: Node) -> str:
    bounds = [rule.format(schema[name]) for name, rule in _BOUNDS if schema.get(name) is not None]
    return " ".join(filter(None, [text, f"({', '.join(bounds)})" if bounds else ""]))


def _samples(answer: Node) -> Iterator[Sample]:
    for media, content in answer.get("content", {}).items():
        if (example := content.get("example")) is not None:
            yield Sample(media, _written(example))


def _failures(responses: Node) -> Iterator[Failure]:
    for status, one in responses.items():
        if _PROBLEM in one.get("content", {}):
            yield Failure(status, one["description"])


def _curl(path: str, method: str, parameters: Sequence[Node], media: str, example: Any, *, guarded: bool) -> str:
    """Return a shell command for the operation, with the examples of what it needs."""
    query = []
    for parameter in parameters:
        shown = str(_of_parameter(parameter))
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", shown)
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{parameter['name']}={shown}")
    address = f'"$KEYLEDGER_URL{path}{"?" + "&".join(query) if query else ""}"'
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{address}"]
    if guarded:
        lines.append('-H "X-API-Key: $KEYLEDGER_API_KEY"')
    if example is not None:
        lines += [f"-H {quote(f'Content-Type: {media}')}", f"-d {quote(_written(example))}"]
    return " \\\n  ".join(lines)


def _of_parameter(parameter: Node) -> Any:
    schema = parameter["schema"]
    examples = [parameter.get("example"), *schema.get("examples", ()), *schema.get("enum", ()), schema.get("minimum")]
    return next((one for one in examples if one is not None), parameter["name"].upper())


def _example(content: Node, schema: Node) -> Any:
    return content.get("example", next(iter(schema.get("examples", ())), None))


def _written(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)


def _resolved(document: Node, schema: Node) -> Node:
    if "$ref" not in schema:
        return schema
    name = str(schema["$ref"]).rpartition("/")[2]
    found: Node = document["components"]["schemas"][name]
    return found


def _first(table: Node) -> tuple[str, Node]:
    return next(iter(table.items()), ("", {}))
