"""How requests become a provider's and answers ours: by LiteLLM, or directly."""
