"""Reads additional providers from `providers.yml`: any service that speaks OpenAI's API.

    providers:
      - name: example
        base_url: https://llm.example.com/v1
        key_header: authorization
        key_min: 8
        self_hosted: false
        rejects_with: [401]
        routes: [responses, rerank]

`name` and `base_url` are enough. `base_url` may be missing where `self_hosted` is true: then each credential names its
endpoint, or `EXAMPLE_API_BASE` names one for all. `EXAMPLE_API_KEY` is the platform's own key. `rejects_with` are the
statuses with which the service says that a key is not valid. `routes` are those of OpenAI's API that it has besides
chats, embeddings and models; by default all, so that the service itself says what it lacks. Its own API may have a
WebSocket at `realtime`.
Refuses: a file with any error, all of which are reported with their lines, so that no key goes to an unintended place.
"""

import re
from pathlib import Path

import yaml

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.openai_route_names import ALL_ROUTES, REALTIME
from domain.credentials.providers import KEY_MAX, KEY_MIN, NAME_PATTERN, Dialect, Provider, Providers
from domain.endpoints.rules import OPERATORS_OWN, endpoint_error
from keyledger.settings.sources import SUPER_KEY_ALSO
from keyledger.settings.yaml_document import Document, read_document

_MEMBERS = ("name", "base_url", "key_header", "key_min", "self_hosted", "rejects_with", "routes")
_NAME = re.compile(NAME_PATTERN)
_HEADER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_OF_THE_MESSAGE = re.compile(
    "host|content-.*|transfer-encoding|connection|te|trailer|upgrade|expect|cookie|accept.*|proxy-.*|user-agent"
)
"""Headers that have another meaning in every request and so cannot carry a key."""
_ABOUT_KEYS = frozenset({"401", "403"})
"""Statuses that can mean the key. A 400 means many things, and its code says whether it is about the key."""
_OWN_KEYS = frozenset({"SUPER_API_KEY", *SUPER_KEY_ALSO})
"""Keys to this service itself, which must never be sent to a provider."""


def load_providers(path: Path) -> Providers:
    """Return the built-in providers and those of the file. Raises SettingsError."""
    document = read_document(path)
    rows = list(BUILT_IN.values())
    for entry in _entries(document):
        row = _row(document, entry)
        if row is None:
            continue
        key_setting = row.setting("api_key")
        if row.name in {known.name for known in rows} | {name for known in rows for name in known.also_called}:
            document.error(entry, f"the name '{row.name}' is already taken; choose another")
        elif key_setting in _OWN_KEYS | {known.setting("api_key") for known in rows}:
            document.error(
                entry,
                f"the key of '{row.name}' would be {key_setting}, which is already in use; choose another name",
            )
        else:
            rows.append(row)
    document.close()
    return Providers(rows)


def _entries(document: Document) -> list[yaml.Node]:
    root = document.root
    if root is None:
        return []
    if isinstance(root, yaml.MappingNode):
        members = document.members(root)
        for name in members.keys() - {"providers"}:
            document.error(members[name], f"'{name}' is not known; only providers is")
        return document.entries(members["providers"], "providers") if "providers" in members else []
    return document.entries(root, "the file")


def _row(document: Document, entry: yaml.Node) -> Provider | None:
    if not isinstance(entry, yaml.MappingNode):
        document.error(entry, "a provider must be a mapping with a name and a base_url")
        return None
    before = len(document.errors)
    members = document.members(entry)
    for unknown in members.keys() - set(_MEMBERS):
        document.error(members[unknown], f"'{unknown}' is not known; use {', '.join(_MEMBERS)}")
    name = document.text("name", members, entry, required=True)
    self_hosted = document.switch("self_hosted", members)
    base_url = document.text("base_url", members, entry, required=not self_hosted)
    key_header = (document.text("key_header", members, entry) or "authorization").lower()
    key_min = document.number("key_min", members, KEY_MIN)
    if name is not None and not _NAME.fullmatch(name):
        document.error(members["name"], "name must be 1 to 32 of a-z, 0-9, _ and -, and begin with a letter")
    if base_url is not None and (error := endpoint_error(base_url, OPERATORS_OWN)):
        document.error(members["base_url"], f"base_url {error}")
    if not _HEADER.fullmatch(key_header) or _OF_THE_MESSAGE.fullmatch(key_header):
        document.error(members["key_header"], "key_header must be the name of a header for keys, such as x-api-key")
    if not 1 <= key_min <= KEY_MAX:
        document.error(members["key_min"], f"key_min must be from 1 to {KEY_MAX}")
    rejects_with, routes = _rejects_with(document, members), _routes(document, members)
    if len(document.errors) > before or name is None:
        return None
    return Provider(
        name,
        base_url,
        Dialect.OPENAI,
        key_header=key_header,
        key_min=key_min,
        self_hosted=self_hosted,
        rejects_with=rejects_with,
        routes=routes,
        sockets=frozenset({REALTIME}),
    )


def _rejects_with(document: Document, members: dict[str, yaml.Node]) -> frozenset[int]:
    if "rejects_with" not in members:
        return frozenset({401})
    nodes = document.entries(members["rejects_with"], "rejects_with")
    statuses = {str(node.value) for node in nodes}
    if not statuses <= _ABOUT_KEYS:
        document.error(members["rejects_with"], f"rejects_with must list some of {', '.join(sorted(_ABOUT_KEYS))}")
        return frozenset()
    return frozenset({401, *map(int, statuses)})


def _routes(document: Document, members: dict[str, yaml.Node]) -> frozenset[str]:
    if "routes" not in members:
        return ALL_ROUTES
    nodes = document.entries(members["routes"], "routes")
    routes = {str(node.value) for node in nodes}
    if not routes <= ALL_ROUTES:
        document.error(members["routes"], f"routes must list some of {', '.join(sorted(ALL_ROUTES))}")
        return frozenset()
    return frozenset(routes)
