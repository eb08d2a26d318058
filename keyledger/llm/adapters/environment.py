"""What the process environment may hold once settings are read.

LiteLLM and the SDKs below it read keys, addresses, organisations and proxies from the environment whenever an argument
is missing, and send one tenant's request with another's key. `cleanse` takes that away before they are imported; it has
to run after settings were read and before `keyledger.llm.adapters.litellm` warms up.
"""

import re
from collections.abc import MutableMapping

from domain.credentials.providers import BUILT_IN
from keyledger.settings.sources import SUPER_KEY_ALSO

_PROVIDERS = sorted({word.upper() for row in BUILT_IN.values() for word in (row.name, row.litellm_prefix)})
_REMOVED = re.compile(
    rf"""
    .*_(API_KEY|API_BASE|BASE_URL|API_KEYS|AUTH_TOKEN|AD_TOKEN|MODEL_URL)
    | ({"|".join(_PROVIDERS)}|LITELLM|AWS|HF|HUGGINGFACE|HUGGING_FACE)_.*
    | USE_LITELLM_PROXY | USE_AIOHTTP_TRANSPORT | DISABLE_AIOHTTP_TRANSPORT
    | GOOGLE_APPLICATION_CREDENTIALS
    | ([A-Z]+_)?PROXY
    | SSLKEYLOGFILE  # where it is set, TLS writes its session keys to a file
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KEPT = frozenset({"SUPER_API_KEY", *SUPER_KEY_ALSO})
_SET = {
    "LITELLM_MODE": "PRODUCTION",  # otherwise the import loads a .env file that it searches for
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it fetches prices from the network
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_OFFLINE_MODE": "true",
    # Otherwise it searches its error texts for secrets on the event loop, which takes seconds for a large answer. It
    # has no key, and its log is switched off.
    "LITELLM_DISABLE_REDACT_SECRETS": "true",
    # OpenAI's chats by its plain client, as other providers', instead of by OpenAI's own: a third less work for a call.
    "EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER": "true",
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",  # otherwise it fetches images that a prompt names, from our network
}


def cleanse(environ: MutableMapping[str, str]) -> None:
    """Remove what could lend a call another key, address or way.

    The service's own `SUPER_API_KEY` is not a provider's and stays.
    """
    for name in [name for name in environ if _REMOVED.fullmatch(name) and name.upper() not in _KEPT]:
        del environ[name]
    keep_offline(environ)


def keep_offline(environ: MutableMapping[str, str]) -> None:
    """Set what keeps LiteLLM's import and its calls from files and hosts that are not theirs."""
    environ.update(_SET)
