"""Anthropic's Messages API, for the models of every provider."""
