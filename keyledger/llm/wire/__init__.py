"""The one way to a provider: with one key, to one origin, for one call."""
