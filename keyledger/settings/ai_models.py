"""The catalogue of models, read from a YAML file with `completion_models`, `embedding_models` and the other sections
of SECTIONS, or with a bare list of completion models.

An entry with `litellm_model_name` (`provider/name`) goes through LiteLLM and may use a tenant's key. One without is a
legacy model: its `family` names the provider, and only global keys serve it. `aliases` are other names for a model.
A `name` and `litellm_model_name` that both end in `*` stand for every model whose name begins that way. Other fields
are for people and other programs, and are not read here.
Promises: a model that cannot be served here (of an unknown provider, family or section) is left out, with its line and
the reason, and the rest is served, because other programs use the file too.
Refuses: a file that is malformed, because its meaning is not certain; all errors are reported with their lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from domain.calls.models import ANY, Adapter, Model, ModelKind, unknown_model
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.key_shapes import masked
from domain.credentials.providers import Dialect, Provider, Providers
from keyledger.settings.yaml_document import Document, line_of, read_document

SECTIONS = {f"{kind.value}_models": kind for kind in ModelKind}
_SHOWN = 20
"""Models named in a summary; `config check` names them all."""
_REST = re.compile(r"(?!responses/)[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
"""Allowed in place of the `*`: every provider's model names match this, and none that does can change a URL.
`responses/` would make LiteLLM perform another operation than the one that was asked for."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model of the file that is not served: its name, its line, and the reason with the remedy."""

    name: str
    line: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is left out ({self.line}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models of one file, in its order. `source` is the file's name. left_out: models that are not served."""

    source: str
    models: tuple[Model, ...]
    left_out: tuple[LeftOut, ...] = ()

    def told_left_out(self) -> list[str]:
        """Return a sentence for each model that is not served, with the name of the file in front."""
        return [f"{self.source}: {one}" for one in self.left_out]

    def summary(self) -> str:
        """Return one line: how many models are served, and which are left out and why."""
        served = f"{len(self.models)} models"
        shown = [f"{one.name} ({one.line}: {one.reason})" for one in self.left_out[:_SHOWN]]
        if len(self.left_out) > _SHOWN:
            shown.append(f"{len(self.left_out) - _SHOWN} more")
        return f"{served}; left out: {'; '.join(shown)}" if shown else served

    @property
    def listed(self) -> tuple[Model, ...]:
        """The models that applications may ask for, once for each name and alias."""
        named = [model for model in self.models if not model.is_pattern]
        return tuple(replace(model, name=name) for model in named for name in (model.name, *model.aliases))

    def model(self, name: str) -> Model:
        """Return the model with this name, alias or pattern; its name is then `name`.

        Raises NotFoundError.
        """
        for model in self.models:
            if name in (model.name, *model.aliases) and not model.is_pattern:
                return replace(model, name=name)
        found = self._of_pattern(name)
        if found is None:
            raise unknown_model(self.source)
        return found

    def serves(self, provider: str, upstream_name: str) -> bool:
        """Whether a model of the catalogue has this name at this provider."""
        return any(
            _stands_for(model.upstream_name, upstream_name) for model in self.models if model.provider == provider
        )

    def name_of(self, provider: str, upstream_name: str) -> str | None:
        """Return the name of the model that has this name at this provider; of a pattern its own name."""
        of_provider = (model for model in self.models if model.provider == provider)
        return next((model.name for model in of_provider if _stands_for(model.upstream_name, upstream_name)), None)

    def _of_pattern(self, name: str) -> Model | None:
        """Return the model that the longest matching pattern makes of a name."""
        patterns = sorted((one for one in self.models if one.is_pattern), key=lambda one: len(one.name), reverse=True)
        for pattern in patterns:
            beginning = pattern.name.removesuffix(ANY)
            rest = name.removeprefix(beginning)
            if name.startswith(beginning) and _REST.fullmatch(rest):
                return replace(pattern, name=name, upstream_name=pattern.upstream_name.removesuffix(ANY) + rest)
        return None


def _stands_for(known: str, name: str) -> bool:
    if not known.endswith(ANY):
        return known == name
    beginning = known.removesuffix(ANY)
    return name.startswith(beginning) and _REST.fullmatch(name.removeprefix(beginning)) is not None


def packaged_catalogue() -> Path:
    """Return the file that is shipped with the program: inside the package when installed, next to it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "ai_models.yml"
    return inside if inside.exists() else package.parent / "ai_models.yml"


def load_catalogue(path: Path, providers: Providers = BUILT_IN) -> Catalogue:
    """Read the catalogue. Raises SettingsError."""
    document = read_document(path)
    reading = _Reading(document, providers)
    models = tuple(reading.models())
    document.close()
    return Catalogue(path.name, models, tuple(reading.left_out))


class _Reading:
    """One reading of a file."""

    def __init__(self, document: Document, providers: Providers) -> None:
        self.left_out: list[LeftOut] = []
        self._document = document
        self._first_seen: dict[str, str] = {}
        self._providers = {
            name: provider for provider in providers.values() for name in (provider.name, *sorted(provider.also_called))
        }

    def models(self) -> Iterator[Model]:
        """Return the models that are served, in the order of the file."""
        for section, entries in self._sections().items():
            kind = SECTIONS.get(section)
            if kind is None:
                self._leave_out(section, entries)
                continue
            for entry in self._document.entries(entries, section):
                model = self._model(entry, kind)
                if model is not None:
                    yield model

    def _sections(self) -> dict[str, yaml.Node]:
        root = self._document.root
        if isinstance(root, yaml.SequenceNode):
            return {"completion_models": root}
        if isinstance(root, yaml.MappingNode):
            return self._document.members(root)
        self._document.error(root, "must be a mapping with completion_models and embedding_models, or a list of models")
        return {}

    def _leave_out(self, section: str, entries: yaml.Node) -> None:
        """Record the models of an unknown section as left out, whatever its form: it is for other programs."""
        section = masked(section)
        reason = f"{section} are not served here; only {' and '.join(SECTIONS)} are"
        listed = entries.value if isinstance(entries, yaml.SequenceNode) else []
        names = [(_name_in(entry), entry) for entry in listed] or [(section, entries)]
        self.left_out += [LeftOut(name, line_of(entry), reason) for name, entry in names]

    def _model(self, entry: yaml.Node, kind: ModelKind) -> Model | None:
        document = self._document
        if not isinstance(entry, yaml.MappingNode):
            document.error(entry, "a model must be a mapping with a name")
            return None
        before = len(document.errors)
        members = document.members(entry)
        name = document.text("name", members, entry, required=True)
        family = document.text("family", members, entry)
        litellm_name = document.text("litellm_model_name", members, entry)
        aliases = self._aliases(members)
        if len(document.errors) > before or name is None:
            return None
        at = line_of(members.get("litellm_model_name") or members.get("family") or entry)
        found = self._found(name, family, litellm_name, kind)
        if isinstance(found, str):
            self.left_out.append(LeftOut(name, at, found))
            return None
        if aliases and found.is_pattern:
            document.error(entry, "a pattern cannot have aliases; remove them")
        for called in (name, *aliases):
            self._take(called, entry)
        return replace(found, aliases=tuple(aliases))

    def _aliases(self, members: dict[str, yaml.Node]) -> list[str]:
        listed = members.get("aliases")
        nodes = self._document.entries(listed, "aliases") if listed is not None else []
        return [text for node in nodes if (text := self._document.plain_text(node, "an alias")) is not None]

    def _take(self, called: str, entry: yaml.Node) -> None:
        if called in self._first_seen:
            self._document.error(entry, f"the name '{called}' is already taken, in {self._first_seen[called]}")
        self._first_seen.setdefault(called, line_of(entry))

    def _found(self, name: str, family: str | None, litellm_name: str | None, kind: ModelKind) -> Model | str:
        """Return the model that an entry describes, or why it is left out."""
        prefix, slash, upstream = (litellm_name or f"{family or ''}/{name}").partition("/")
        provider = self._providers.get(prefix)
        if litellm_name is not None and not (slash and upstream):
            return "litellm_model_name has no provider; write provider/name"
        if provider is None:
            return self._unknown(prefix, legacy=litellm_name is None)
        return _of_provider(name, upstream, provider, kind, legacy=litellm_name is None)

    def _unknown(self, prefix: str, *, legacy: bool) -> str:
        known = ", ".join(self._providers)
        if legacy and not prefix:
            return f"has neither litellm_model_name nor family; a family is one of {known}"
        what = "family" if legacy else "provider"
        return f"the {what} '{prefix}' is not known; add it to providers.yml, or use one of {known}"


def _name_in(entry: yaml.Node) -> str:
    pairs = entry.value if isinstance(entry, yaml.MappingNode) else []
    return next((masked(str(value.value)) for key, value in pairs if key.value == "name"), "an entry")


def _of_provider(name: str, upstream: str, provider: Provider, kind: ModelKind, *, legacy: bool) -> Model | str:
    if kind is not ModelKind.COMPLETION and provider.dialect is Dialect.ANTHROPIC:
        return f"{provider.name} offers no {'embeddings' if kind is ModelKind.EMBEDDING else f'{kind.value} models'}"
    if name.endswith(ANY) != upstream.endswith(ANY) or ANY in name[:-1] or ANY in upstream[:-1]:
        return "a pattern needs one * at the end of name and of litellm_model_name, and nowhere else"
    by_litellm = not legacy and kind is ModelKind.COMPLETION and provider.needs_litellm
    adapter = Adapter.LEGACY if legacy else Adapter.LITELLM
    return Model(name, kind, provider.name, adapter, upstream, by_litellm=by_litellm)
