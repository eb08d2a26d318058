"""The rows of the providers that ship with KeyLedger.

Which routes a provider has is taken from its reference; a tenant's own server may have fewer, and then says so itself.
"""

from domain.credentials.openai_route_names import (
    ALL_ROUTES,
    COMPLETIONS,
    FILES,
    IMAGES,
    MODERATIONS,
    RERANK,
    RESPONSES,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    VARIATIONS,
)
from domain.credentials.providers import Dialect, Provider, Providers

_MISTRAL = frozenset(
    {
        *("frequency_penalty", "max_tokens", "messages", "metadata", "n", "parallel_tool_calls", "prediction"),
        *("presence_penalty", "prompt_mode", "random_seed", "reasoning_effort", "response_format", "safe_prompt"),
        *("stop", "temperature", "tool_choice", "tools", "top_p"),
    }
)
"""From the reference of Mistral's chat completions; it answers any other member with 422."""

BUILT_IN = Providers(
    (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            litellm_prefix="openai",
            by_model=True,
            keeps=frozenset({"chat/completions", "responses"}),
            routes=ALL_ROUTES - {RERANK},
        ),
        Provider(
            "anthropic",
            "https://api.anthropic.com",
            Dialect.ANTHROPIC,
            key_header="x-api-key",
            litellm_prefix="anthropic",
            also_called=frozenset({"claude"}),
            routes=frozenset(),
        ),
        Provider(
            "mistral",
            "https://api.mistral.ai/v1",
            litellm_prefix="mistral",
            accepts=_MISTRAL,
            renamed=(("max_completion_tokens", "max_tokens"), ("seed", "random_seed")),
            version_at_end=True,
            routes=frozenset({FILES, MODERATIONS, RESPONSES, SPEECH, TRANSCRIPTIONS}),
        ),
        Provider(
            "ovhcloud",
            "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
            litellm_prefix="ovhcloud",
            rejects_with=frozenset({401, 403}),
            routes=frozenset({COMPLETIONS, IMAGES, TRANSCRIPTIONS}),
        ),
        Provider("berget", "https://api.berget.ai/v1", routes=frozenset({COMPLETIONS, RERANK, TRANSCRIPTIONS})),
        Provider(
            "azure",
            None,
            Dialect.AZURE,
            key_header="api-key",
            litellm_prefix="azure",
            by_model=True,
            required=frozenset({"endpoint", "api_version", "deployment_name"}),
            optional=frozenset(),
            routes=ALL_ROUTES - {MODERATIONS, RERANK, VARIATIONS},
        ),
        Provider(
            "vllm",
            None,
            # vLLM accepts the key it was started with, of any length; its documentation uses "EMPTY".
            key_min=1,
            self_hosted=True,
            base_url_setting="VLLM_MODEL_URL",
            also_called=frozenset({"hosted_vllm"}),
            routes=frozenset({COMPLETIONS, RERANK, RESPONSES, TRANSCRIPTIONS, TRANSLATIONS}),
        ),
    )
)
