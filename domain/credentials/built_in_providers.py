"""The rows of the providers that ship with KeyLedger.

Which routes a provider has is taken from its reference; a tenant's own server may have fewer, and then says so itself.
"""

from domain.credentials.openai_route_names import (
    ALL_ROUTES,
    BATCHES,
    COMPLETIONS,
    FILES,
    IMAGES,
    MODERATIONS,
    REALTIME,
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

_REALTIME = frozenset({REALTIME})

BUILT_IN = Providers(
    (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            litellm_prefix="openai",
            by_model=True,
            keeps=frozenset({"chat/completions", "responses"}),
            routes=ALL_ROUTES - {RERANK},
            sockets=_REALTIME,
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
            models_are_public=True,
        ),
        Provider(
            "berget",
            "https://api.berget.ai/v1",
            routes=frozenset({COMPLETIONS, RERANK, TRANSCRIPTIONS}),
            models_are_public=True,
        ),
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
            sockets=_REALTIME,
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
            sockets=_REALTIME,
        ),
        Provider(
            "gemini",
            # Google's interface in OpenAI's form. It answers 400 to a key that is not valid; the code says so.
            "https://generativelanguage.googleapis.com/v1beta/openai",
            litellm_prefix="gemini",
            also_called=frozenset({"google"}),
            routes=frozenset({IMAGES}),
        ),
        Provider(
            "groq",
            "https://api.groq.com/openai/v1",
            litellm_prefix="groq",
            routes=frozenset({BATCHES, FILES, RESPONSES, SPEECH, TRANSCRIPTIONS, TRANSLATIONS}),
        ),
        Provider(
            "deepseek",
            "https://api.deepseek.com/v1",
            litellm_prefix="deepseek",
            routes=frozenset({COMPLETIONS}),
            elsewhere=((COMPLETIONS, "beta/completions"),),
        ),
        # It answers 400 to a key that is not valid; the text says so.
        Provider(
            "xai",
            "https://api.x.ai/v1",
            litellm_prefix="xai",
            routes=frozenset({IMAGES, RESPONSES}),
            sockets=_REALTIME,
        ),
        Provider(
            "cohere",
            "https://api.cohere.ai/compatibility/v1",
            litellm_prefix="cohere",
            also_called=frozenset({"cohere_chat"}),
            routes=frozenset({RERANK}),
            elsewhere=((RERANK, "v2/rerank"),),
            models_are_public=True,
        ),
        Provider(
            "openrouter",
            "https://openrouter.ai/api/v1",
            litellm_prefix="openrouter",
            routes=frozenset({COMPLETIONS, RERANK, RESPONSES}),
            models_are_public=True,
        ),
        Provider(
            "together",
            "https://api.together.xyz/v1",
            litellm_prefix="together_ai",
            also_called=frozenset({"together_ai"}),
            routes=frozenset({BATCHES, COMPLETIONS, FILES, IMAGES, RERANK, SPEECH, TRANSCRIPTIONS, TRANSLATIONS}),
            models_are_public=True,
        ),
        Provider(
            "fireworks",
            "https://api.fireworks.ai/inference/v1",
            litellm_prefix="fireworks_ai",
            also_called=frozenset({"fireworks_ai"}),
            routes=frozenset({COMPLETIONS, RERANK, RESPONSES}),
            models_are_public=True,
        ),
        Provider(
            "scaleway",
            "https://api.scaleway.ai/v1",
            litellm_prefix="scaleway",
            rejects_with=frozenset({401, 403}),
            routes=frozenset({RESPONSES, TRANSCRIPTIONS}),
            models_are_public=True,
        ),
        Provider(
            "nebius",
            "https://api.tokenfactory.nebius.com/v1",
            litellm_prefix="nebius",
            routes=frozenset({BATCHES, COMPLETIONS, FILES, IMAGES, RESPONSES}),
        ),
        Provider(
            "huggingface",
            "https://router.huggingface.co/v1",
            litellm_prefix="huggingface",
            routes=frozenset({RESPONSES}),
            models_are_public=True,
        ),
        Provider("cerebras", "https://api.cerebras.ai/v1", litellm_prefix="cerebras", routes=frozenset({COMPLETIONS})),
        Provider(
            "perplexity",
            "https://api.perplexity.ai",
            litellm_prefix="perplexity",
            routes=frozenset({RESPONSES}),
            elsewhere=((RESPONSES, "v1/responses"), ("embeddings", "v1/embeddings")),
            models_are_public=True,
        ),
    )
)
