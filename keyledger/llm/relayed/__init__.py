"""Relays routes of OpenAI's API: a request under the provider's name of its model, and the provider's own answer."""
