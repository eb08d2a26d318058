"""Calls to models: OpenAI's interface, and the providers' own."""
