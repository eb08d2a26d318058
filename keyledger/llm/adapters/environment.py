"""Removes provider settings from the process environment once KeyLedger has read its own.

LiteLLM and the SDKs it uses read keys, addresses, organisations and proxies from the environment whenever an argument
is missing, and would then send one tenant's request with another key. Call `cleanse` after the settings were read and
before `keyledger.llm.adapters.litellm` warms up.
"""

import re
from collections.abc import MutableMapping

from domain.credentials.built_in_providers import BUILT_IN
from keyledger.settings.start_environment import StartEnvironment

_PROVIDERS = sorted({word.upper() for row in BUILT_IN.values() for word in (row.name, row.litellm_prefix)})
_REMOVED = re.compile(
    rf"""
    .*_(API_KEY|API_BASE|BASE_URL|API_KEYS|AUTH_TOKEN|AD_TOKEN|MODEL_URL)
    | ({"|".join(_PROVIDERS)}|LITELLM|AWS|HF|HUGGINGFACE|HUGGING_FACE)_.*
    | USE_LITELLM_PROXY | USE_AIOHTTP_TRANSPORT | DISABLE_AIOHTTP_TRANSPORT
    | GOOGLE_APPLICATION_CREDENTIALS
    | ([A-Z]+_)?PROXY
    | SSLKEYLOGFILE  # makes TLS write its session keys to a file
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SET = {
    "LITELLM_MODE": "PRODUCTION",  # otherwise the import searches for a .env file and loads it
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it fetches prices from the network
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_OFFLINE_MODE": "true",
    # Otherwise it searches its error texts for secrets on the event loop, which takes seconds for a large request. It
    # never has a key, and its logging is disabled.
    "LITELLM_DISABLE_REDACT_SECRETS": "true",
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",  # otherwise it fetches the images named in prompts, from inside the network
}


def cleanse(environment: StartEnvironment) -> None:
    """Take every variable that could give a call another key, address or proxy."""
    environment.take()
    environment.take(_REMOVED)


def keep_offline(environ: MutableMapping[str, str]) -> None:
    """Set the variables that keep LiteLLM from reading files and calling hosts of its own accord.

    environ: changed in place.
    """
    environ.update(_SET)
