"""Turn requests into a provider's format and responses into OpenAI's: through LiteLLM, or directly."""
