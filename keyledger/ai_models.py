"""The catalogue of models, read from a YAML file with `completion_models` and `embedding_models`.

An entry with `litellm_model_name` (`provider/name`) goes through LiteLLM and may use a tenant's key. One without is a
legacy model: its `family` names the provider, and only global keys serve it. Other fields are kept in the file for
people and other programs, and not read here.
Refuses a file with any fault, and then names all of them with their lines: a catalogue that is half right is not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from domain.errors import UnknownModel
from domain.llm import Adapter, Model, ModelKind
from domain.providers import PROVIDERS

SECTIONS = {"completion_models": ModelKind.COMPLETION, "embedding_models": ModelKind.EMBEDDING}

_NULL, _STR = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_PREFIXES = {**{name: name for name in PROVIDERS}, "hosted_vllm": "vllm"}
_FAMILIES = {**{name: name for name in PROVIDERS}, "claude": "anthropic"}


class CatalogueFault(Exception):
    """The file cannot be used. `faults` are sentences, each with its line."""

    def __init__(self, source: str, faults: tuple[str, ...]) -> None:
        super().__init__(f"{source}: {'; '.join(faults)}")
        self.source = source
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models of one file, in its order. `source` is the file's name."""

    source: str
    models: tuple[Model, ...]

    def model(self, name: str) -> Model:
        """Return the model called `name`. Raises UnknownModel."""
        for model in self.models:
            if model.name == name:
                return model
        raise UnknownModel(self.source)


def load_catalogue(path: Path) -> Catalogue:
    """Read the catalogue. Raises CatalogueFault."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise CatalogueFault(path.name, (f"cannot be read ({type(error).__name__})",)) from None
    except UnicodeDecodeError:
        raise CatalogueFault(path.name, ("is not UTF-8 text",)) from None
    except yaml.YAMLError as error:
        raise CatalogueFault(path.name, (_yaml_fault(error),)) from None
    faults: list[str] = []
    models = tuple(_models(root, faults))
    if faults:
        raise CatalogueFault(path.name, tuple(faults))
    return Catalogue(path.name, models)


def _models(root: yaml.Node | None, faults: list[str]) -> Iterator[Model]:
    if not isinstance(root, yaml.MappingNode):
        faults.append("line 1: must be a mapping with completion_models and embedding_models")
        return
    first_seen: dict[str, int] = {}
    for section, entries in _members(root, faults).items():
        if section not in SECTIONS:
            faults.append(f"{_line(entries)}: unknown section; there are {' and '.join(SECTIONS)}")
        elif entries.tag == _NULL:
            continue
        elif not isinstance(entries, yaml.SequenceNode):
            faults.append(f"{_line(entries)}: {section} must be a list of models")
        else:
            for entry in entries.value:
                model = _model(entry, SECTIONS[section], faults)
                if model is None:
                    continue
                if model.name in first_seen:
                    earlier = first_seen[model.name]
                    faults.append(f"{_line(entry)}: the name '{model.name}' is taken already, in line {earlier}")
                first_seen.setdefault(model.name, entry.start_mark.line + 1)
                yield model


def _model(entry: yaml.Node, kind: ModelKind, faults: list[str]) -> Model | None:
    if not isinstance(entry, yaml.MappingNode):
        faults.append(f"{_line(entry)}: a model must be a mapping with a name")
        return None
    members = _members(entry, faults)
    before = len(faults)
    name = _text("name", members, entry, faults, required=True)
    family = _text("family", members, entry, faults)
    litellm_name = _text("litellm_model_name", members, entry, faults)
    if len(faults) > before or name is None:
        return None
    at = _line(members.get("litellm_model_name") or members.get("family") or entry)
    if litellm_name is not None:
        return _litellm_model(name, litellm_name, kind, at, faults)
    provider = _FAMILIES.get(family or "")
    if provider is None:
        faults.append(f"{at}: without litellm_model_name, family must be one of {', '.join(_FAMILIES)}")
        return None
    return Model(name, kind, provider, Adapter.LEGACY, name)


def _litellm_model(name: str, litellm_name: str, kind: ModelKind, at: str, faults: list[str]) -> Model | None:
    prefix, _, upstream = litellm_name.partition("/")
    if not upstream or prefix not in _PREFIXES:
        faults.append(f"{at}: litellm_model_name must be provider/name with a provider out of {', '.join(_PREFIXES)}")
        return None
    return Model(name, kind, _PREFIXES[prefix], Adapter.LITELLM, upstream)


def _members(node: yaml.MappingNode, faults: list[str]) -> dict[str, yaml.Node]:
    """Return a mapping's members by name. YAML itself lets the last of two with the same name win."""
    members: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name in members:
            faults.append(f"{_line(key)}: '{name}' is written twice")
        members[name] = value
    return members


def _text(
    name: str, members: dict[str, yaml.Node], entry: yaml.Node, faults: list[str], *, required: bool = False
) -> str | None:
    node = members.get(name)
    if node is None or node.tag == _NULL:
        if required:
            faults.append(f"{_line(entry)}: {name} is missing")
        return None
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STR or not node.value.strip():
        faults.append(f"{_line(node)}: {name} must be a text; put it in quotes")
        return None
    return str(node.value)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{line}is not YAML ({problem or 'unreadable characters'})"
