"""The parts of the service outside domain and HTTP: settings, keyring, event store, embedded PostgreSQL, the adapter
to LLM providers, and the composition root that puts them together.
"""
