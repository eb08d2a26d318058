"""Prepares requests without LiteLLM, in the provider's own dialect.

For models whose catalogue entry has no `litellm_model_name`; they use global keys only.
"""

from domain.credentials.providers import Dialect
from keyledger.llm.adapters.anthropic_dialect import to_anthropic
from keyledger.llm.adapters.anthropic_form import for_anthropic
from keyledger.llm.adapters.openai_body import openai_body
from keyledger.llm.requests.litellm_plans import Plan
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.prepared import Prepared, encoded
from keyledger.llm.requests.provider_addresses import ANTHROPIC_VERSION


class DirectAdapter:
    """Prepares requests directly."""

    warm = True

    async def warm_up(self) -> None:
        """Do nothing: there is nothing to load."""

    def chat(self, plan: Plan, request: Request) -> Prepared:
        """Prepare a chat. Raises InvalidRequestError for parameters that cannot be translated."""
        if plan.row.dialect is Dialect.ANTHROPIC:
            body = to_anthropic(for_anthropic(request), plan.upstream_model)
            return Prepared(encoded(body), (("anthropic-version", ANTHROPIC_VERSION),))
        return Prepared(encoded(openai_body(plan, request)))
